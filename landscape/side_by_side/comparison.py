"""Results of several checkpoints beside each other, or histories of several runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import UsageError
from landscape.fields import Gauge, gauge_of
from landscape.gates.entry import Run, run_of_result
from landscape.gates.losses import COMPARABLE_LOSS_GAP, loss_gap
from landscape.gates.metric import RESULT_TYPES, Metric, data_error, describes_run, metrics_of, read_metric
from landscape.history import History
from landscape.session import Results, read
from landscape.side_by_side.labels import labels_of_files, labels_of_runs
from landscape.side_by_side.runs import compare_histories
from landscape.side_by_side.table import Cell, Row, SideBySide, apart_from
from landscape.storage import paths

FIRST = 3  # elements of an array that are compared unasked
OF_EVERY_ANALYSIS = ("loss", "gradient_norm")  # fields that stand once, above all others


def compare(
    *results: str | Path | Results | History,
    labels: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    every: bool = False,
) -> SideBySide:
    """The numbers of several checkpoints beside each other: results, their files, or checkpoints with files beside.

    `labels` name them; by default they are the shortest paths that tell the files apart. `metrics` are names as those
    of `landscape check`; by default all properties of the checkpoint, of arrays the first elements, with `every` all.
    Of histories of runs, the last and the largest values stand beside each other.
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
    found = [read_beside(one) if isinstance(one, str | Path) else one for one in results]
    files = [Path(one) if isinstance(one, str | Path) else Path(getattr(one, "file", "")) for one in results]
    if any(isinstance(one, History) for one in found):
        return compare_histories(found, list(labels) if labels else labels_of_runs(found, files))
    stored: list[Any] = found
    names = list(labels) if labels else labels_of_files([one.file for one in stored])
    if len(names) != len(stored) or len(set(names)) < len(names):
        raise UsageError(f"{len(set(names))} labels for {len(stored)} results", fix="a label of its own for each")
    runs = _runs(stored)
    chosen = _choose_metrics(stored, metrics, every)
    rows = [*_common_rows(stored, runs), *(_row(metric, stored, runs, names) for metric in chosen)]
    return SideBySide(tuple(names), tuple(rows))


def caveats(stored: Sequence[Results], names: Sequence[str], analyses: Iterable[str]) -> list[str]:
    """Why those of the analyses that all results have may not be compared with that of the first, each reason once."""
    runs = _runs(stored)
    shared = [name for name in analyses if all(name in own for own in runs)]
    pairs = list(zip(runs[1:], names[1:], strict=True))
    reasons = [
        _not_the_same(analysis, own, runs[0], name, names[0]) or _other_loss(analysis, own, runs[0], name, names[0])
        for analysis in shared
        for own, name in pairs
    ]
    return [reason for reason in dict.fromkeys(reasons) if reason]


def read_beside(path: str | Path) -> Any:
    """The results of a checkpoint, or the history of a run: of the file itself, or of the one beside or inside."""
    inside = paths.history_file(Path(path))
    return read(inside if inside.exists() else results_beside(Path(path)))


def results_beside(path: Path) -> Path:
    """The results file of a checkpoint, or the path itself; raises UsageError if the checkpoint was not measured."""
    if not (path.suffix in paths.CHECKPOINTS or path.is_dir()):
        return path
    file = paths.results_file(path, "")
    if not file.exists():
        raise UsageError(f"{path} has no results beside it: there is no {file}", fix=f"landscape eig {path}")
    return file


def _runs(stored: Sequence[Results]) -> list[dict[str, Run]]:
    """The measurements of each, by analysis."""
    return [
        {name: run_of_result(name, record, one.groups[name].attributes) for name, record in one.records.items()}
        for one in stored
    ]


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
        names = [
            name
            for name in (*alike, *shared)
            if all(np.ndim(getattr(one[name], field, ())) == 0 for one in stored)  # a surface's losses are many
        ]
        if names:
            base, *others = (Cell(float(getattr(one[names[0]], field))) for one in stored)
            yield Row(field.replace("_", " "), "", (base, *(apart_from(cell, base) for cell in others)))


def _row(metric: Metric, stored: Sequence[Results], runs: Sequence[Mapping[str, Run]], names: Sequence[str]) -> Row:
    """One quantity of all checkpoints."""
    first, *others = (_cell(metric, one) for one in stored)
    cells = [first]
    for cell, own, name in zip(others, runs[1:], names[1:], strict=True):
        reason = cell.reason or first.reason or _not_the_same(metric.analysis, own, runs[0], name, names[0])
        if not reason:
            cell, reason = apart_from(cell, first), _other_loss(metric.analysis, own, runs[0], name, names[0])
        cells.append(replace(cell, reason=reason))
    return Row(str(metric), metric.about.help, tuple(cells))


def _cell(metric: Metric, results: Results) -> Cell:
    if metric.analysis not in results:
        return Cell(math.nan, reason=f"{metric.analysis} was not measured: landscape {metric.analysis}")
    reading = read_metric(results[metric.analysis], metric)
    by_samples = data_error(results[metric.analysis], metric)
    return Cell(reading.value, reading.error, reason=reading.not_gateable, data_error=by_samples)


def _not_the_same(analysis: str, own: Mapping[str, Run], first: Mapping[str, Run], name: str, base: str) -> str:
    """In what two measurements differ, so that their numbers cannot be compared; "" if they are the same."""
    apart = "; ".join(own[analysis].mismatches(first[analysis], base, trained=True))
    return f"{analysis} of {name} is not the same measurement: {apart}" if apart else ""


def _other_loss(analysis: str, own: Mapping[str, Run], first: Mapping[str, Run], name: str, base: str) -> str:
    """Why a difference may only be one of the loss; "" if the losses are near."""
    gap = loss_gap(own[analysis], first[analysis])
    if gap is None:
        return ""
    return (
        f"the loss of {name} is {gap.candidate:.4g}, of {base} {gap.baseline:.4g}: {gap.reason}, so that beyond "
        f"{COMPARABLE_LOSS_GAP:.0%} a comparison says nothing"
    )
