"""How histories look in an interpreter and in a notebook, and what they are converted to."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.analyses.numbers import with_error
from landscape.analyses.tidy import as_csv as lines_as_csv
from landscape.analyses.tidy import optional_library
from landscape.errors import clean
from landscape.history.edge import EDGE, RATE
from landscape.history.quantities import STEP

if TYPE_CHECKING:
    from landscape.history.history import History

SHOWN_ROWS = 12  # of the table in a page: the first and the last ones
RATE_TIMES_EIGENVALUE = "lr * eigenvalue"
SHORT_HEADS = {"eig.cosines": "cosine to the step before"}
# Quantities that a short table shows, if it has them
HEADLINES = ("eig.eigenvalues", "trace.trace", "sharpness.s_max", "critical.critical_sharpness")


def plain_lists(history: History) -> dict[str, Any]:
    """The columns as lists; NaN and infinity are None."""
    return {name: _finite(column.values.tolist()) for name, column in history.columns.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flat_columns(history: History) -> Iterator[tuple[str, np.ndarray]]:
    """Every column over the steps, one for each element: `eig.eigenvalues[0]`, `trace.layer_trace[fc1]`."""
    columns = history.columns
    for name, column in columns.items():
        if column.dims[:1] != (STEP,):
            continue
        labels = [
            _labels(history, dim, length) for dim, length in zip(column.dims[1:], column.values.shape[1:], strict=True)
        ]
        for place in product(*(range(len(each)) for each in labels)):
            words = [each[index] for each, index in zip(labels, place, strict=True)]
            index: Any = (slice(None), *place)
            yield name + (f"[{', '.join(words)}]" if words else ""), column.values[index]


def _labels(history: History, dimension: str, length: int) -> list[str]:
    """The names of the places along a dimension; numbers if it has none."""
    column = history.columns.get(dimension)
    words = column is not None and column.values.dtype.kind == "U"
    return [str(word) for word in column.values] if column is not None and words else [str(i) for i in range(length)]


def csv_of_history(history: History) -> str:
    """A line for each step."""
    columns = dict(flat_columns(history))
    return lines_as_csv([list(columns), *zip(*(column.tolist() for column in columns.values()), strict=True)])


def frame_of_history(history: History) -> Any:
    """A DataFrame whose index is the step."""
    frame = optional_library("pandas").DataFrame(dict(flat_columns(history))).set_index(STEP)
    frame.attrs.update(history.attributes)
    return frame


def dataset_of_history(history: History) -> Any:
    """A Dataset; words of dimensions are its coordinates."""
    variables = {
        name: (column.dims, column.values, {"long_name": column.help, "units": column.unit})
        for name, column in history.columns.items()
    }
    return optional_library("xarray").Dataset(variables, attrs=dict(history.attributes))


def draw_history(history: History, axes: Any, **look: Any) -> Any:
    """Draws the history on axes of matplotlib, new ones if none are given."""
    return import_module("landscape.figures").draw(history, axes, **look)


def short_table(history: History) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of a table: the step, the checkpoint, the loss, and first values with their errors.

    With a learning rate they have the edge of stability, and the learning rate times the largest eigenvalue.
    """
    names = [name for name in ("loss", *HEADLINES, EDGE, "eig.cosines") if name in history]
    stable = {"eig.eigenvalues", RATE} <= history.columns.keys()
    heads = [STEP, "checkpoint", *(SHORT_HEADS.get(name) or _head(history, name) for name in names)]
    rows = []
    for place, moment in enumerate(history.moments):
        numbers = [_number(history, name, history.error_of(name), place) for name in names]
        products = [_rate_times_eigenvalue(history, place)] if stable else []
        step = f"{moment.step:g}" if moment.step % 1 else f"{int(moment.step)}"
        rows.append([step, moment.checkpoint, *numbers, *products])
    return [*heads, *([RATE_TIMES_EIGENVALUE] if stable else [])], rows


def _rate_times_eigenvalue(history: History, place: int) -> str:
    value = _first(history[RATE][place]) * _first(history["eig.eigenvalues"][place])
    return "-" if math.isnan(value) else f"{value:.4g}"


def _head(history: History, name: str) -> str:
    return f"{name}[0]" if history[name].ndim > 1 else name


def _number(history: History, name: str, errors: np.ndarray | None, place: int) -> str:
    """The first value of a quantity at one step, with its error."""
    value, error = (None if each is None else _first(each[place]) for each in (history[name], errors))
    return "-" if value is None or math.isnan(value) else with_error(value, error, bound=True)


def _first(value: Any) -> float:
    return float(np.ravel(value)[0])


def line_of_history(history: History) -> str:
    """A history in a line."""
    if not history.moments:
        return "<History: no checkpoints>"
    steps = history.steps.tolist()
    troubled = sum(bool(moment.trouble) for moment in history.moments)
    parts = [f"{len(history.moments)} checkpoints, steps {steps[0]} to {steps[-1]}", *_ranges(history)]
    parts += [f"{troubled} with a trouble"] if troubled else []
    run = f" of {clean(history.run)}" if history.run else ""
    return f"<History{run}: {', '.join(parts)}>"


def _ranges(history: History) -> Iterator[str]:
    """The first and the last value of what a short table shows."""
    for name in ("loss", *HEADLINES):
        if name in history:
            first, last = (_first(history[name][place]) for place in (0, -1))
            yield f"{_head(history, name)} {first:.4g} -> {last:.4g}"


def page_of_history(history: History) -> str:
    """A history as HTML: a table of its first and last steps, and the picture. Every text is escaped."""
    figures = import_module("landscape.figures")
    heads, rows = short_table(history)
    left_out = len(rows) - SHOWN_ROWS
    shown = rows if left_out <= 0 else [*rows[: SHOWN_ROWS // 2], *rows[-SHOWN_ROWS // 2 :]]
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in shown)
    parts = [f"<p><b>{escape(line_of_history(history)[1:-1])}</b></p>", f"<table><tr>{head}</tr>{body}</table>"]
    parts += [f"<p>{left_out:,} rows in between are left out</p>"] if left_out > 0 else []
    parts += [
        f"<p>{escape(moment.checkpoint)}: {escape(moment.trouble)}</p>" for moment in history.moments if moment.trouble
    ]
    if figures.drawn(history):
        source = f"data:image/png;base64,{b64encode(figures.picture(history)).decode()}"
        parts.append(f'<img alt="{escape(line_of_history(history))}" src="{source}">')
    return "<div>" + "\n".join(parts) + "</div>"
