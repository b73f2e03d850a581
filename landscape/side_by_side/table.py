"""Numbers of several checkpoints or runs beside each other: values with errors, differences from the first."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

from landscape.analyses.numbers import with_error
from landscape.analyses.tidy import as_csv, optional_library

SURE_ERRORS = 3.0  # beyond which a difference is not chance
# Larger is sharper. Their errors are those of the measurement alone, on the same data.
MEASURES_OF_SHARPNESS = (
    "eig.eigenvalues[0]",
    "trace.trace",
    "density.lambda_max",
    "density.trace",
    "sharpness.scaled_trace",
    "sharpness.s_avg[0]",
    "flatness.lambda_1",
)
OF_SCALED_WEIGHTS = "sharpness."  # how the names of measures begin that do not change when layers are only rescaled
RESCALING = (
    "eigenvalues and traces also change where layers are only rescaled, and the function stays: landscape sharpness "
    "does not"
)
RESAMPLED = ("eig", "trace")  # analyses that tell, on request, what another choice of samples would change
MANY_ERRORS = 100  # beyond which their number says no more
BY_SAMPLES = (
    "by samples: in standard errors of the choice of samples, as if each had samples of its own; those that they "
    "share make it no larger in most cases"
)


@dataclass(frozen=True)
class Cell:
    """A number of one checkpoint, its error if that is known, and how far it is from that of the first checkpoint.

    `in_errors` is the difference in standard errors of the difference. `reason` says why there is no difference, or
    why it may be one of the loss alone. `data_error` is the error by the choice of samples, where it was asked for, and
    `in_data_errors` the difference in those.
    """

    value: float
    error: float | None = None
    difference: float | None = None
    in_errors: float | None = None
    reason: str = ""
    data_error: float | None = None
    in_data_errors: float | None = None


@dataclass(frozen=True)
class Row:
    """A quantity by name, with a cell for each checkpoint."""

    metric: str
    help: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class SideBySide:
    """The quantities of several checkpoints, of which the first is what the others are compared with."""

    labels: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why numbers are not comparable, each once, in the order of the table."""
        return tuple(dict.fromkeys(cell.reason for row in self.rows for cell in row.cells if cell.reason))

    def header(self) -> list[str]:
        """The heads of the columns."""
        first, *others = self.labels
        return ["quantity", first, *(head for label in others for head in (label, f"difference from {first}"))]

    def cells(self) -> Iterator[list[str]]:
        """The texts of each row; `(2)` beside a difference, or in its place, is the number of a reason."""
        numbers = {reason: f"({number})" for number, reason in enumerate(self.reasons, start=1)}
        for row in self.rows:
            first, *others = row.cells
            texts = [row.metric, _text(first) + (f" {numbers[first.reason]}" if first.reason else "")]
            for cell in others:
                known = [_difference(cell, first)] if cell.difference is not None else []
                texts += [_text(cell), " ".join([*known, *([numbers[cell.reason]] if cell.reason else [])])]
            yield texts

    def notes(self) -> list[str]:
        """The reasons with their numbers, and what a difference `by samples` is."""
        by_samples = any(cell.in_data_errors is not None for row in self.rows for cell in row.cells)
        numbered = [f"({number}) {reason}" for number, reason in enumerate(self.reasons, start=1)]
        return [*numbered, *([BY_SAMPLES] if by_samples else [])]

    def meanings(self) -> list[str]:
        """In which measures of sharpness each other checkpoint is flatter or sharper than the first, beyond errors."""
        found = [said for place, label in enumerate(self.labels) if place and (said := self._meaning(place, label))]
        scaled = any(row.metric.startswith(OF_SCALED_WEIGHTS) for row in self.rows)
        return [*found, *([RESCALING] if found and not scaled else [])]

    def _meaning(self, place: int, label: str) -> str:
        """The measures that differ from those of the first by more than their errors; "" if none is known to."""
        cells = {row.metric: row.cells[place] for row in self.rows if row.metric in MEASURES_OF_SHARPNESS}
        known = {name: cell for name, cell in cells.items() if not cell.reason and _is_sure(cell.in_errors)}
        if not known:
            return ""
        signs: dict[str, list[str]] = {"flatter": [], "sharper": []}
        for name, cell in known.items():
            signs["sharper" if (cell.in_errors or 0.0) > 0 else "flatter"].append(name)
        found = " and ".join(f"{word} by {', '.join(metrics)}" for word, metrics in signs.items() if metrics)
        return f"{label} is {found} than {self.labels[0]}, beyond the errors of {_sources_of_error(known)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; NaN and infinity are None."""
        return {
            "analysis": "compare",
            "checkpoints": list(self.labels),
            "rows": [{"metric": row.metric, "cells": [_plain_cell(cell) for cell in row.cells]} for row in self.rows],
        }

    def to_dataframe(self) -> Any:
        """A DataFrame of pandas with a row for each quantity and checkpoint."""
        return optional_library("pandas").DataFrame(list(self._records()))

    def _records(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            for label, cell in zip(self.labels, row.cells, strict=True):
                yield {"metric": row.metric, "checkpoint": label, **asdict(cell)}

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Comma-separated text with a row for each quantity and checkpoint."""
        records = list(self._records())
        return as_csv([*(list(record) for record in records[:1]), *(record.values() for record in records)])

    def to_markdown(self) -> str:
        """A table of Markdown, and the reasons below it."""
        lines = [self.header(), ["---", *["---:"] * (len(self.header()) - 1)], *self.cells()]
        table = "".join("| " + " | ".join(map(_plain, line)) + " |\n" for line in lines)
        return table + "".join(f"\n{_plain(note)}\n" for note in self.notes())

    def to_html(self) -> str:
        """A table of HTML, and the reasons below it; every text is escaped."""
        heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in self.header())
        body = ""
        for row, (first, *others) in zip(self.rows, self.cells(), strict=True):
            cells = "".join(f'<td style="text-align:right">{escape(cell)}</td>' for cell in others)
            body += f'<tr><th scope="row" title="{escape(row.help)}">{escape(first)}</th>{cells}</tr>'
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes())
        return f"<table><tr>{heads}</tr>{body}</table>{notes}\n"

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_markdown()


def apart_from(cell: Cell, first: Cell) -> Cell:
    """The cell with its difference from the first one."""
    difference = cell.value - first.value
    return replace(
        cell,
        difference=difference,
        in_errors=_in_errors(difference, cell.error, first.error),
        in_data_errors=_in_errors(difference, cell.data_error, first.data_error),
    )


def _in_errors(difference: float, mine: float | None, theirs: float | None) -> float | None:
    """A difference in standard errors of it; None where one of them is not known, or both are 0."""
    if mine is None or theirs is None:
        return None
    error = math.hypot(mine, theirs)
    return difference / error if error > 0 else None


def _is_sure(in_errors: float | None) -> bool:
    """Whether a difference of so many errors is not chance."""
    return in_errors is not None and abs(in_errors) > SURE_ERRORS


def _sources_of_error(differences: Mapping[str, Cell]) -> str:
    """Which errors explain none of the differences, and which might, or were not asked for."""
    asked = {name: cell.in_data_errors for name, cell in differences.items() if cell.in_data_errors is not None}
    unsure = [name for name, in_errors in asked.items() if not _is_sure(in_errors)]
    if unsure:
        return f"the algorithm; other samples might say otherwise of {', '.join(unsure)}"
    if len(asked) == len(differences):
        return "the algorithm and of the choice of samples"
    missing = dict.fromkeys(name.partition(".")[0] for name in differences if name not in asked)
    resampled = [name for name in missing if name in RESAMPLED]
    tell = "tells" if len(resampled) == 1 else "tell"
    advice = f": {' and '.join(resampled)} with --resample 20 {tell} whether others would say so" if resampled else ""
    return f"the algorithm on these samples{advice}"


def _text(cell: Cell) -> str:
    return "-" if math.isnan(cell.value) else with_error(cell.value, cell.error, bound=True)


def _difference(cell: Cell, first: Cell) -> str:
    """The difference as a share of the first value, and in standard errors."""
    if cell.difference is None or not math.isfinite(cell.difference):
        return "-"
    share = f"{100 * cell.difference / abs(first.value):+.3g} %" if first.value else f"{cell.difference:+.3g}"
    counts = [
        f"{_count(in_errors)} {of}"
        for in_errors, of in ((cell.in_errors, "errors"), (cell.in_data_errors, "by samples"))
        if in_errors is not None
    ]
    return f"{share} ({', '.join(counts)})" if counts else share


def _count(in_errors: float) -> str:
    """How many errors a difference is; more than a hundred are not counted."""
    return "> 100" if abs(in_errors) > MANY_ERRORS else f"{abs(in_errors):.2g}"


def _plain_cell(cell: Cell) -> dict[str, Any]:
    """A cell for JSON: NaN and infinity are None."""
    values = asdict(cell)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _plain(text: str) -> str:
    """A text as a cell of Markdown."""
    return escape(text, quote=False).replace("|", r"\|").replace("\n", " ")
