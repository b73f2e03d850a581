"""The figure of a run's history: a panel over the steps for the loss, and for each quantity that was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.figures.style import GREY, ink, series_style
from landscape.figures.texts import draw_legend, legend_text, set_heading, set_label, shorten
from landscape.history.summary import headline_numbers, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.figures.look import Context
    from landscape.figures.registry import Panels
    from landscape.history import History

MAX_PANELS, MAX_LINES = 6, 7
LINES = (  # panels of one quantity, its name in histories, and their headings
    ("trace", "trace.trace", "trace"),
    ("s_max", "sharpness.s_max", "worst-case sharpness"),
    ("s_avg", "sharpness.s_avg", "average-case sharpness"),
)
DECADES = 1.0  # over which positive values have a logarithmic axis
EDGE = (0, (5, 2))  # dashes of the edge of stability, longer than those of series
BARS: Any = {"elinewidth": 1.0, "capsize": 0}
DRAWN_APART = ("eig", "trace", "sharpness", "critical")  # analyses with panels of their own


def panels(history: History, context: Context) -> Panels:
    """A panel over the steps for each quantity; steps whose numbers are missing or inconclusive have a dotted line."""
    found: dict[str, Callable[[Axes], None]] = {}
    if "loss" in history:
        found["loss"] = partial(_draw_lines, history, "loss", "mean loss")
    if "eig.eigenvalues" in history:
        found["eigenvalues"] = partial(_draw_eigenvalues, history)
    for panel, name, title in LINES:
        if name in history:
            found[panel] = partial(_draw_lines, history, name, title)
    if "critical.critical_sharpness" in history:
        found["critical"] = partial(_draw_critical, history)
    if "eig.cosines" in history and np.isfinite(history["eig.cosines"]).any():
        found["eigenvectors"] = partial(_draw_cosines, history)
    found |= {name: partial(_draw_lines, history, name, name) for name in _others(history)}
    return {name: partial(_draw_panel, history, draw) for name, draw in found.items()}


def _draw_panel(history: History, draw: Callable[[Axes], None], axes: Axes) -> None:
    """Draws a quantity, the steps without it, and the legend."""
    draw(axes)
    for place, moment in enumerate(moment for moment in history.moments if moment.trouble):
        label = "missing or inconclusive" if place == 0 else None
        axes.axvline(moment.step, color=GREY, linewidth=0.8, linestyle=":", label=label)
    axes.set_xlabel("step")
    draw_legend(axes)


def _others(history: History) -> list[str]:
    """The numbers with errors of analyses that have no panel of their own."""
    named = [name for name, about in history.quantities.items() if about.error and name in history]
    return [name for name in named if name.partition(".")[0] not in DRAWN_APART and history[name].ndim == 1]


def _draw_lines(history: History, name: str, title: str, axes: Axes) -> None:
    """One quantity over the steps: a line for each place of its other dimension."""
    values, errors = history[name], history.error_of(name)
    table = values.reshape(len(values), -1)
    bars = None if errors is None else errors.reshape(table.shape)
    labels = _labels(history, name, table.shape[1])
    for place in range(min(table.shape[1], MAX_LINES)):
        drawn = None if bars is None else bar_lengths(table[:, place], bars[:, place])
        _draw_series(axes, history.steps, table[:, place], drawn, place, labels[place])
    _set_scale(axes, table)
    set_label(axes, "y", title + (" (bars: standard error)" if bars is not None else ""))
    set_heading(axes, title)


def _draw_eigenvalues(history: History, axes: Axes) -> None:
    """The eigenvalues, largest first, with the edge of stability where the learning rate is known."""
    values, errors = history["eig.eigenvalues"], history.error_of("eig.eigenvalues")
    for rank in range(min(values.shape[1], MAX_LINES)):
        bars = None if errors is None else bar_lengths(values[:, rank], errors[:, rank])
        _draw_series(axes, history.steps, values[:, rank], bars, rank, rf"$\lambda_{{{rank + 1}}}$")
    scaled = [values]
    if "edge" in history:
        words = legend_text(str(history.attributes.get("edge", "edge of stability")))
        axes.plot(history.steps, history["edge"], linestyle=EDGE, color=ink(), linewidth=1.2, label=words)
        scaled.append(history["edge"])
    _set_scale(axes, np.concatenate([np.ravel(each) for each in scaled]))
    set_label(axes, "y", "eigenvalue (bars: error bound)")
    set_heading(axes, "largest eigenvalues")


def _draw_critical(history: History, axes: Axes) -> None:
    """The critical sharpness, with 2 / learning rate where that is known."""
    name = "critical.critical_sharpness"
    _draw_lines(history, name, "critical sharpness", axes)
    if "learning_rate" in history:
        edge = 2 / history["learning_rate"]
        axes.plot(history.steps, edge, linestyle=EDGE, color=ink(), linewidth=1.2, label="2 / learning rate")
        _set_scale(axes, np.concatenate([history[name], edge]))


def _draw_cosines(history: History, axes: Axes) -> None:
    """How far eigenvectors turned since the checkpoint before."""
    cosines = history["eig.cosines"]
    for rank in range(min(cosines.shape[1], MAX_LINES)):
        _draw_series(axes, history.steps, cosines[:, rank], None, rank, rf"$v_{{{rank + 1}}}$")
    if "eig.overlap" in history and cosines.shape[1] > 1:
        axes.plot(history.steps, history["eig.overlap"], "--", color=GREY, linewidth=1.2, label="their span")
    axes.set_ylim(-0.03, 1.05)
    set_label(axes, "y", "|cosine| with the checkpoint before")
    set_heading(axes, "eigenvectors")


def bar_lengths(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The lengths of error bars `(T,)`: none for an unknown error; an infinite one is as long as the largest value."""
    finite = np.abs(values[np.isfinite(values)])
    lengths: np.ndarray = np.nan_to_num(np.abs(errors), nan=0.0, posinf=float(finite.max(initial=0.0)))
    return lengths


def _draw_series(
    axes: Axes, steps: np.ndarray, values: np.ndarray, bars: np.ndarray | None, place: int, label: str | None
) -> None:
    """One of several lines over the steps, with its errors if there are any."""
    style = series_style(place)
    axes.errorbar(
        steps, values, bars, linestyle=style.line, marker=style.mark, markersize=3.5, linewidth=1.2, color=style.color,
        label=label, **BARS,
    )  # fmt: skip


def _labels(history: History, name: str, count: int) -> list[str | None]:
    """What the lines of a quantity are called; None for a single one."""
    if count == 1:
        return [None]
    dims = history.columns[name].dims[1:]
    words = history[dims[0]].tolist() if len(dims) == 1 and dims[0] in history else list(range(count))
    short = dims[0].rpartition(".")[2] if len(dims) == 1 else ""
    texts = [word if isinstance(word, str) else f"{short} {word:.3g}".strip() for word in words]
    return [legend_text(text) for text in texts]


def _set_scale(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic axis for positive values over more than a decade; else one that shows 0 where signs differ."""
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() > 10**DECADES * finite.min():
        axes.set_yscale("log")
    elif len(finite) and finite.min() < 0 < finite.max():
        axes.axhline(0, color=GREY, linewidth=0.8)


def together(histories: Sequence[History]) -> list[tuple[str, int | None]]:
    """The numbers that several histories all have, and that one panel each shows: names and places."""
    numbers = [(name, place) for name, place, _ in headline_numbers(histories) if name != "gradient_norm"]
    return numbers[:MAX_PANELS]


def draw_runs(histories: Sequence[History], labels: Sequence[str], axes: Sequence[Axes]) -> None:
    """Draws several runs over each other: a panel for each number, a line with its errors for each run."""
    for (name, place), one in zip(together(histories), axes, strict=True):
        for number, (history, label) in enumerate(zip(histories, labels, strict=True)):
            values, errors = series(history, name, place)
            bars = None if errors is None else bar_lengths(values, errors)
            _draw_series(one, history.steps, values, bars, number, shorten(label))
            if name == "eig.eigenvalues" and "edge" in history:
                one.plot(
                    history.steps, history["edge"], linestyle=EDGE, color=series_style(number).color, linewidth=1.0
                )
        _set_scale(one, np.concatenate([series(history, name, place)[0] for history in histories]))
        title = name + (f"[{place}]" if place is not None else "")
        one.set_xlabel("step")
        set_label(one, "y", title)
        set_heading(one, title)
        draw_legend(one)
