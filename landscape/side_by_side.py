"""Results of several checkpoints beside each other: values with errors, differences from the first, and why not."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from landscape.analyses.result_views import with_error
from landscape.analyses.tidy import as_csv, optional_library
from landscape.errors import UsageError
from landscape.fields import Gauge, gauge_of
from landscape.gates.entry import Run, run_of_result
from landscape.gates.metric import RESULT_TYPES, Metric, describes_run, metrics_of, read_metric
from landscape.gates.not_comparable import different_losses
from landscape.session import Results, read_measurements
from landscape.storage import paths

FIRST = 3  # elements of an array that are compared unasked
OF_EVERY_ANALYSIS = ("loss", "gradient_norm")  # fields that stand once, above all others
MANY_ERRORS = 100  # beyond which their number says no more
IN_BASELINE = "in the baseline"  # how the reasons of gates call the first one


@dataclass(frozen=True)
class Cell:
    """A number of one checkpoint, its error if that is known, and how far it is from that of the first checkpoint.

    `in_errors` is the difference in standard errors of the difference. `reason` says why there is no difference, or
    why it may be one of the loss alone.
    """

    value: float
    error: float | None = None
    difference: float | None = None
    in_errors: float | None = None
    reason: str = ""


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
        """The reasons with their numbers."""
        return [f"({number}) {reason}" for number, reason in enumerate(self.reasons, start=1)]

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


def compare(
    *results: str | Path | Results,
    labels: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    every: bool = False,
) -> SideBySide:
    """The numbers of several checkpoints beside each other: results, their files, or checkpoints with files beside.

    `labels` name them; by default they are the shortest paths that tell the files apart. `metrics` are names as those
    of `landscape check`; by default all properties of the checkpoint, of arrays the first elements, with `every` all.
    Differences are from the first. Raises UsageError for fewer than two, and OutputError for files that cannot be read.

    >>> import landscape
    >>> for name in ("a", "b"):
    ...     landscape.run(landscape.Eig(k=1), landscape.load("digits-mlp.pt", limit=100), output=f"{name}.landscape.h5")
    <EigResult...
    <EigResult...
    >>> landscape.compare("a.landscape.h5", "b.landscape.h5").rows[2].cells[1].difference
    0.0
    """
    if len(results) < 2:
        raise UsageError(f"{len(results)} results cannot be compared with each other", fix="name two or more")
    stored = [one if isinstance(one, Results) else read_measurements(results_beside(Path(one))) for one in results]
    names = list(labels) if labels else labels_of([one.file for one in stored])
    if len(names) != len(stored) or len(set(names)) < len(names):
        raise UsageError(f"{len(set(names))} labels for {len(stored)} results", fix="a label of its own for each")
    runs = [
        {name: run_of_result(name, record, one.groups[name].attributes) for name, record in one.records.items()}
        for one in stored
    ]
    chosen = _choose_metrics(stored, metrics, every)
    rows = [*_common_rows(stored, runs), *(_row(metric, stored, runs, names) for metric in chosen)]
    return SideBySide(tuple(names), tuple(rows))


def labels_of(files: Sequence[Path]) -> list[str]:
    """What results files are called: the shortest ends of their paths that tell them apart."""
    return [name.removesuffix(paths.RESULTS) for name in paths.short_names([str(file) for file in files])]


def results_beside(path: Path) -> Path:
    """The results file of a checkpoint, or the path itself; raises UsageError if the checkpoint was not measured."""
    if not (path.suffix in paths.CHECKPOINTS or path.is_dir()):
        return path
    file = paths.results_file(path, "")
    if not file.exists():
        raise UsageError(f"{path} has no results beside it: there is no {file}", fix=f"landscape eig {path}")
    return file


def _choose_metrics(stored: Sequence[Results], named: Sequence[str] | None, every: bool) -> list[Metric]:
    """The metrics to compare, in the order of the results."""
    if named:
        return [Metric.parse(name) for name in named]
    found: dict[str, Metric] = {}
    for analysis in RESULT_TYPES:
        metrics = [metric for one in stored if analysis in one for metric in metrics_of(one[analysis])]
        own = [metric for metric in metrics if not (metric.field in OF_EVERY_ANALYSIS or describes_run(metric))]
        chosen = own if every else ([metric for metric in own if _is_estimate(metric)] or own)
        counts: dict[str, int] = {}
        for metric in chosen:
            counts[metric.field] = counts.get(metric.field, 0) + (str(metric) not in found)
            if every or counts[metric.field] <= FIRST:
                found[str(metric)] = metric
    return list(found.values())


def _is_estimate(metric: Metric) -> bool:
    """Whether a number says how to compare it, and is no part of a curve, or of a table with names."""
    kind = RESULT_TYPES[metric.analysis]
    dims = getattr(metric.about, "dims", ())
    return gauge_of(kind, metric.field) != Gauge() and all(
        dim in kind.tables and place.isdecimal() for dim, place in zip(dims, metric.place, strict=False)
    )


def _common_rows(stored: Sequence[Results], runs: Sequence[Mapping[str, Run]]) -> Iterator[Row]:
    """The rows of what every analysis tells of a checkpoint: of one that all have, on the same data if there is one."""
    first = runs[0]
    shared = [name for name in first if all(name in own for own in runs)]
    alike = [name for name in shared if not any(own[name].mismatches(first[name], trained=True) for own in runs)]
    for field in OF_EVERY_ANALYSIS:
        names = [name for name in (*alike, *shared) if all(hasattr(one[name], field) for one in stored)]
        if names:
            base, *others = (Cell(float(getattr(one[names[0]], field))) for one in stored)
            yield Row(field.replace("_", " "), "", (base, *(_apart(cell, base) for cell in others)))


def _row(metric: Metric, stored: Sequence[Results], runs: Sequence[Mapping[str, Run]], names: Sequence[str]) -> Row:
    """One quantity of all checkpoints."""
    first, *others = (_cell(metric, one) for one in stored)
    cells = [first]
    for cell, own, name in zip(others, runs[1:], names[1:], strict=True):
        reason = cell.reason or first.reason or _not_the_same(metric, own, runs[0], name, names[0])
        if not reason:
            cell, reason = _apart(cell, first), _other_loss(metric, own, runs[0], name, names[0])
        cells.append(replace(cell, reason=reason))
    return Row(str(metric), metric.about.help, tuple(cells))


def _cell(metric: Metric, results: Results) -> Cell:
    if metric.analysis not in results:
        return Cell(math.nan, reason=f"{metric.analysis} was not measured: landscape {metric.analysis}")
    reading = read_metric(results[metric.analysis], metric)
    return Cell(reading.value, reading.error, reason=reading.not_gateable)


def _not_the_same(metric: Metric, own: Mapping[str, Run], first: Mapping[str, Run], name: str, base: str) -> str:
    """In what two measurements differ, so that their numbers cannot be compared; "" if they are the same."""
    apart = "; ".join(own[metric.analysis].mismatches(first[metric.analysis], trained=True))
    told = f"{metric.analysis} of {name} is not the same measurement: {apart}".replace(IN_BASELINE, f"in {base}")
    return told if apart else ""


def _other_loss(metric: Metric, own: Mapping[str, Run], first: Mapping[str, Run], name: str, base: str) -> str:
    """Why a difference may only be one of the loss; "" if the losses are near."""
    found = different_losses(own[metric.analysis], first[metric.analysis])
    if found is None:
        return ""
    return found.why.replace("the loss is", f"the loss of {name} is").replace(IN_BASELINE, f"of {base}")


def _apart(cell: Cell, first: Cell) -> Cell:
    """The cell with its difference from the first one."""
    difference = cell.value - first.value
    in_errors = None
    if cell.error is not None and first.error is not None and (error := math.hypot(cell.error, first.error)) > 0:
        in_errors = difference / error
    return replace(cell, difference=difference, in_errors=in_errors)


def _text(cell: Cell) -> str:
    return "-" if math.isnan(cell.value) else with_error(cell.value, cell.error)


def _difference(cell: Cell, first: Cell) -> str:
    """The difference as a share of the first value, and in standard errors."""
    if cell.difference is None or not math.isfinite(cell.difference):
        return "-"
    share = f"{100 * cell.difference / abs(first.value):+.3g} %" if first.value else f"{cell.difference:+.3g}"
    if cell.in_errors is None:
        return share
    return f"{share} ({'> 100' if abs(cell.in_errors) > MANY_ERRORS else f'{abs(cell.in_errors):.2g}'} errors)"


def _plain_cell(cell: Cell) -> dict[str, Any]:
    """A cell for JSON: NaN and infinity are None."""
    values = asdict(cell)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _plain(text: str) -> str:
    """A text as a cell of Markdown."""
    return escape(text, quote=False).replace("|", r"\|").replace("\n", " ")
