"""Metrics: numbers of results by name, such as `trace.trace`, `eig.eigenvalues[0]` and `trace.layer_trace[fc1]`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from landscape.analyses import ANALYSES, Result
from landscape.choices import NORMAL_HALF_WIDTH, population_name
from landscape.errors import UsageError, listing, safe_excerpt, suggest
from landscape.fields import Array, Option, Scalar, described_fields, gauge_of, number_fields

METRIC_PATTERN = re.compile(
    r"(?P<analysis>[\w-]+)\.(?P<field>\w+)(?:\[(?P<place>[^\[\]]+(?:\[[^\[\]]*\])*[^\[\]]*)\])?"
)
RESULT_TYPES: dict[str, type[Result]] = {analysis.name: analysis.result for analysis in ANALYSES}


@dataclass(frozen=True)
class Metric:
    """A scalar of an analysis' result, or an element of an array, by its index or by its label."""

    analysis: str
    field: str
    place: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Metric:
        """The metric of a name; raises UsageError if no result has it.

        >>> Metric.parse("eig.eigenvalues[0]").field
        'eigenvalues'
        """
        match = METRIC_PATTERN.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"{safe_excerpt(text)} names no number",
                fix='"eig.eigenvalues[0]", in quotes where it is a TOML key: landscape check --list',
            )
        name, field = match["analysis"], match["field"]
        if name not in RESULT_TYPES:
            raise UsageError(
                f"there is no analysis {suggest(safe_excerpt(name), RESULT_TYPES)}", fix="landscape check --list"
            )
        fields = number_fields(RESULT_TYPES[name])
        if field not in fields:
            raise UsageError(
                f"{name} has no number {suggest(safe_excerpt(field), fields)}", fix="landscape check --list"
            )
        about = fields[field]
        place = tuple(word.strip() for word in match["place"].split(",")) if match["place"] else ()
        dims = about.dims if isinstance(about, Array) else ()
        if not min(len(dims), 1) <= len(place) <= len(dims):
            example = f"{name}.{field}" + (f"[{', '.join('0' * len(dims))}]" if dims else "")
            raise UsageError(f"{safe_excerpt(text)} is not one number", fix=example)
        named = zip(place, dims[len(dims) - len(place) :], strict=True)
        return cls(name, field, tuple(population_name(word) if dim == "population" else word for word, dim in named))

    @property
    def about(self) -> Scalar | Array:
        """The description of the field that holds the number."""
        return number_fields(RESULT_TYPES[self.analysis])[self.field]

    def __str__(self) -> str:
        return f"{self.analysis}.{self.field}" + (f"[{', '.join(self.place)}]" if self.place else "")


@dataclass(frozen=True)
class Reading:
    """A measured metric, with its standard error or bound and the values whose mean it is, where they are known.

    `floor` is the smallest difference that is no rounding, `asked` the error that the measurement was asked for. An
    error by the choice of the samples is left out, since only measurements of the same samples are compared.
    `not_gateable` is the reason why a gate must not use the value, and `fix` the remedy, if one is known; `not_unique`
    is the reason why a gate may only warn. They are "" if there is none.
    """

    value: float
    error: float | None = None
    draws: tuple[float, ...] = ()
    floor: float = 0.0
    asked: float = 0.0
    not_gateable: str = ""
    not_unique: str = ""
    fix: str = ""


def current_name(metric: str) -> str:
    """A baseline's name of a metric, with populations in today's spelling; an unknown metric's name is unchanged."""
    try:
        return str(Metric.parse(metric))
    except UsageError:
        return metric


def describes_run(metric: Metric) -> bool:
    """Whether the number is no property of the checkpoint: a count of work, an option, or another number's error."""
    return metric.field in _fields_of_run(metric.analysis)


@cache
def _fields_of_run(name: str) -> frozenset[str]:
    """The fields of an analysis' result that are no properties of the checkpoint."""
    analysis = next(analysis for analysis in ANALYSES if analysis.name == name)
    counts = {
        f.name for f in described_fields(analysis.result, Scalar) if str(f.type).partition(" ")[0] in ("int", "bool")
    }
    gauges = [gauge_of(analysis.result, field) for field in number_fields(analysis.result)]
    named = [(one.error, one.data_error, one.draws, one.floor, one.rtol) for one in gauges]
    errors = {name for names in named for name in names}
    return frozenset(counts | errors | {field.name for field in described_fields(analysis, Option)})


def read_metric(result: Result, metric: Metric) -> Reading:
    """The metric in a result; `not_gateable` says so if it is not there."""
    index = _find_element(result, metric)
    values = getattr(result, metric.field)
    if isinstance(index, str) or values is None:
        missing = index if isinstance(index, str) else f"the result holds no {metric.field}"
        fix = f"ask for it in [check.{metric.analysis}] (k, per_layer ...), or leave the metric out"
        return Reading(math.nan, not_gateable=missing, fix=fix)
    value = _element(values, index)
    gauge = gauge_of(type(result), metric.field)
    draws = getattr(result, gauge.draws) if gauge.draws else None
    error = getattr(result, gauge.error) if gauge.error and not gauge.by_samples else None
    reason = result.not_gateable(metric.field, index)
    if not reason and not math.isfinite(value):
        reason = f"it is {value}"
    own_error = None if error is None else _element(error, index)
    if not reason and own_error is not None and not math.isfinite(own_error):
        reason = f"its error is {own_error}"
    return Reading(
        value,
        own_error,
        () if draws is None else tuple(float(draw[index]) for draw in draws),
        float(getattr(result, gauge.floor)) if gauge.floor else 0.0,
        abs(value) * float(getattr(result, gauge.rtol) or 0.0) / NORMAL_HALF_WIDTH if gauge.rtol else 0.0,
        reason,
        result.not_unique(metric.field, index),
        _remedy(result, metric) if reason else "",
    )


def data_error(result: Result, metric: Metric) -> float | None:
    """The standard error of a metric by the choice of the samples; None where it is not known."""
    gauge, index = gauge_of(type(result), metric.field), _find_element(result, metric)
    name = gauge.data_error or (gauge.error if gauge.by_samples else "")
    values = getattr(result, name) if name else None
    if values is None or isinstance(index, str):
        return None
    error = _element(values, index)
    return error if math.isfinite(error) else None


def _remedy(result: Result, metric: Metric) -> str:
    """What makes a number of the result usable; options of its analysis are the gate's own."""
    trouble = result.trouble()
    fix = trouble.fix if trouble else ""
    place = f"options of {metric.analysis} stand in [check.{metric.analysis}]"
    return f"{fix} ({place})" if "--" in fix else fix or f"{place}; or leave the metric out"


def metrics_of(result: Result) -> Iterator[Metric]:
    """The metrics that a result holds, without the elements of arrays of more than one dimension."""
    name = next(name for name, kind in RESULT_TYPES.items() if kind is type(result))
    for field, about in number_fields(type(result)).items():
        values = getattr(result, field)
        if values is None:
            continue
        if isinstance(about, Scalar):
            yield Metric(name, field)
        elif len(values.shape) == 1:
            labels = _labels(result, about.dims[0])
            yield from (Metric(name, field, (labels[i] if labels else str(i),)) for i in range(len(values)))


def _find_element(result: Result, metric: Metric) -> tuple[int, ...] | str:
    """The index of the element in its array, or why there is no such element."""
    values, about = getattr(result, metric.field), metric.about
    if values is None or not isinstance(about, Array):
        return ()
    if values.ndim != len(metric.place):
        return f"{metric.field} has {values.ndim} dimensions here: {metric.analysis}.{metric.field}{list(values.shape)}"
    indices = []
    for word, dimension, length in zip(metric.place, about.dims[-values.ndim :], values.shape, strict=True):
        labels = _labels(result, dimension)
        if word in labels:
            indices.append(labels.index(word))
        elif word.isdecimal() and int(word) < length:
            indices.append(int(word))
        else:
            named = f" ({listing(labels)})" if labels else ""
            return f"there is no [{word}] among the {length} of {metric.field}{named}"
    return tuple(indices)


def _labels(result: Result, dimension: str) -> list[str]:
    """The labels of a dimension; empty if it has indices only."""
    labels = getattr(result, dimension, None)
    words = getattr(labels, "dtype", None)
    return [str(label) for label in labels] if labels is not None and words is not None and words.kind == "U" else []


def _element(values: Any, index: tuple[int, ...]) -> float:
    return float(values[index]) if index else float(values)
