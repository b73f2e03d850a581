"""`landscape check --list`: the numbers that can be checked, with advice; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from landscape.errors import UsageError
from landscape.fields import Array
from landscape.gates.measuring import CHECK_KIND
from landscape.gates.metric import RESULT_TYPES, Metric, describes_run, gauge_of, metrics_of, number_fields, read_metric
from landscape.gates.policy import Policy
from landscape.gates.same_weights import SIGNIFICANT_ERRORS
from landscape_cli import tables
from landscape_cli.candidates import source
from landscape_cli.measure import outputs

HEADERS = ("metric", "value", "error", "advice")
COUNTED = "describes the run or another number's error: nothing to gate on"
BARE = "no error is known: landscape check --calibrate 5 measures its noise"
ADVICE = (BARE, COUNTED)  # what comes last, in this order


def show(paths: Sequence[Path], stored: Sequence[Path], policy: Policy) -> None:
    """Prints every metric's name; where results lie beside the checkpoints, with its value."""
    if missing := [path for path in paths if not path.exists()]:
        raise UsageError(f"there is no file {missing[0]}", fix="check the path, or leave it out for the names alone")
    stored = [*stored, *(path for path in paths if source(path).kind == "results")]
    beside = [target for kind in ("", CHECK_KIND) for target in outputs(list(paths), None, kind) if target.exists()]
    files = [*stored, *beside]
    held = [result for file in files for result in _results(file)]
    rows = [row for result in held for row in _measured(result, policy)] or list(_known(policy))
    tables.print_grid(HEADERS, sorted(rows, key=lambda row: ADVICE.index(row[-1]) if row[-1] in ADVICE else -1))


def _results(file: Path) -> list[Any]:
    from landscape_cli import results

    return list(results.read(file).records.values())


def _measured(result: Any, policy: Policy) -> Iterator[tuple[str, ...]]:
    for metric in metrics_of(result):
        reading = read_metric(result, metric)
        share = reading.error / abs(reading.value) if reading.error and reading.value else None
        error = "" if reading.error is None else f"{reading.error:.2g}"
        advice = reading.not_gateable or reading.not_unique or _advice(metric, share)
        yield _marked(metric, policy), f"{reading.value:.6g}", error, advice


def _known(policy: Policy) -> Iterator[tuple[str, ...]]:
    """Without results: names, with a place for each dimension."""
    for analysis, kind in RESULT_TYPES.items():
        for field, about in number_fields(kind).items():
            place = tuple("0" for _ in about.dims) if isinstance(about, Array) else ()
            metric = Metric(analysis, field, place)
            yield _marked(metric, policy), "", "", _advice(metric, None)


def _marked(metric: Metric, policy: Policy) -> str:
    """The name, with a star if the policy checks it."""
    return f"{metric}{' *' if str(metric) in {str(one) for one in policy.metrics} else ''}"


def _advice(metric: Metric, share: float | None) -> str:
    gauge = gauge_of(RESULT_TYPES[metric.analysis], metric.field)
    if gauge.advice:
        return gauge.advice
    if share is not None:
        return f"allow more than {100 * SIGNIFICANT_ERRORS * share:.2g} %, three standard errors"
    if gauge.error:
        return "its standard error is known"
    return COUNTED if describes_run(metric) else BARE
