"""`landscape check --list`: the numbers that can be checked, with advice; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from landscape.errors import UsageError
from landscape.fields import Array, gauge_of, number_fields
from landscape.gates.measuring import CHECK_KIND
from landscape.gates.metric import RESULT_TYPES, Metric, describes_run, metrics_of, read_metric
from landscape.gates.policy import Policy
from landscape.gates.same_weights import SIGNIFICANT_ERRORS
from landscape.session import read_measurements
from landscape_cli import tables
from landscape_cli.candidates import recognize_source
from landscape_cli.columns import Column
from landscape_cli.targets import find_targets

METRIC_COLUMNS = (Column("metric"), Column.of_numbers("value"), Column.of_numbers("error"), Column("advice"))
NOTHING_TO_GATE = "describes the run or another number's error: nothing to gate on"
ERROR_UNKNOWN = "no error is known: landscape check --calibrate 5 measures its noise"
LAST_ADVICE = (ERROR_UNKNOWN, NOTHING_TO_GATE)  # metrics with this advice come last, in this order


def print_metrics(paths: Sequence[Path], results: Sequence[Path], policy: Policy) -> None:
    """Prints every metric's name, with its value if there are results, named or beside the checkpoints."""
    if missing := [path for path in paths if not path.exists()]:
        raise UsageError(f"there is no file {missing[0]}", fix="check the path, or leave it out for the names alone")
    named = [*results, *(path for path in paths if recognize_source(path).kind == "results")]
    beside = [target.output for kind in ("", CHECK_KIND) for target in find_targets(list(paths), None, kind)]
    files = [*named, *(file for file in beside if file.exists())]
    records = [record for file in files for record in read_measurements(file).records.values()]
    rows = [row for record in records for row in _rows_with_values(record, policy)] or list(_rows_of_names(policy))
    tables.print_grid(METRIC_COLUMNS, sorted(rows, key=_rank))


def _rank(row: Sequence[str]) -> int:
    """The place of a row in the table, by its advice."""
    return LAST_ADVICE.index(row[-1]) if row[-1] in LAST_ADVICE else -1


def _rows_with_values(result: Any, policy: Policy) -> Iterator[tuple[str, ...]]:
    for metric in metrics_of(result):
        reading = read_metric(result, metric)
        share = reading.error / abs(reading.value) if reading.error and reading.value else None
        error = "" if reading.error is None else f"{reading.error:.2g}"
        advice = reading.not_gateable or reading.not_unique or _advice(metric, share)
        yield _name_with_star(metric, policy), f"{reading.value:.6g}", error, advice


def _rows_of_names(policy: Policy) -> Iterator[tuple[str, ...]]:
    """The metrics that results may hold, with place 0 in each dimension."""
    for analysis, kind in RESULT_TYPES.items():
        for field, about in number_fields(kind).items():
            place = tuple("0" for _ in about.dims) if isinstance(about, Array) else ()
            metric = Metric(analysis, field, place)
            yield _name_with_star(metric, policy), "", "", _advice(metric, None)


def _name_with_star(metric: Metric, policy: Policy) -> str:
    """The name, with a star if the policy checks it."""
    return f"{metric}{' *' if str(metric) in {str(one) for one in policy.metrics} else ''}"


def _advice(metric: Metric, share: float | None) -> str:
    gauge = gauge_of(RESULT_TYPES[metric.analysis], metric.field)
    if gauge.advice:
        return gauge.advice
    if share is not None:
        return f"allow more than {100 * SIGNIFICANT_ERRORS * share:.2g} %, three standard errors"
    if gauge.by_samples:
        return "exact for the samples that it is compared on"
    if gauge.error:
        return "its standard error is known"
    return NOTHING_TO_GATE if describes_run(metric) else ERROR_UNKNOWN
