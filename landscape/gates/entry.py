"""What a gate compares: the readings of one checkpoint, and the measurements that gave them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from landscape.analyses import ANALYSES, Result
from landscape.analyses.base import Trouble
from landscape.fields import Option, described_fields
from landscape.gates.metric import RESULT_TYPES, Metric, Reading, read_metric
from landscape.gates.reference import BASELINE

# parts of a fingerprint that may differ: the weights are judged, the seed is a random choice of the method, and the
# radii of a curve add numbers without changing others
FREE_PARTS = ("weights", "seed", "curve")
PRECONDITIONER = "preconditioner"  # part of a fingerprint: a new training run has a new one, as it has new weights
PARAMETER_NAMES = (
    "parameters"  # part of a fingerprint: the parameters' names; a model with other names is still the same model
)
REMARKED_VERSIONS = ("torch", "processor")  # of the environment: other versions of these may change a number
STORED_VERSIONS = (*REMARKED_VERSIONS, "python", "loss-landscape-geometry")


@cache
def _defaults(analysis: str) -> Mapping[str, Any]:
    """The defaults of the options that decide a result, as a fingerprint stores them."""
    (kind,) = (kind for kind in ANALYSES if kind.name == analysis)
    options = {f.name: f.default for f in described_fields(kind, Option) if f.about.identity}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


@dataclass(frozen=True)
class Run:
    """One measurement: its fingerprint, and what is compared or reported beside it."""

    analysis: str
    fingerprint: Mapping[str, Any]
    loss: float
    parameters: int
    params: tuple[str, ...]
    device: str
    environment: Mapping[str, str]

    def mismatches(self, other: Run, there: str = BASELINE.name, *, trained: bool = False) -> list[str]:
        """The differences that make this run and an earlier one incomparable, each with both values.

        `there` names where the other run is from. `trained` says that this run is of a new training run. An option that
        the earlier run does not know, since it came with a later version, had its default then.
        """
        defaults = _defaults(self.analysis)
        mine, theirs = (
            {**defaults, **run.fingerprint, "size": run.parameters, "params": list(run.params)} for run in (self, other)
        )
        free = {*FREE_PARTS, PARAMETER_NAMES, *([PRECONDITIONER] if trained else [])}
        names = sorted((mine.keys() | theirs.keys()) - free)
        apart = [name for name in names if mine.get(name) != theirs.get(name)]
        return [f"{name}: {_abbreviate(mine.get(name))}, in {there} {_abbreviate(theirs.get(name))}" for name in apart]

    def remarks(self, other: Run, there: str = BASELINE.name) -> list[str]:
        """The differences that may matter but do not make the two runs incomparable."""
        compared = [(name, self.environment.get(name), other.environment.get(name)) for name in REMARKED_VERSIONS]
        compared.append(("device", self.device.partition(":")[0], other.device.partition(":")[0]))
        remarks = [f"{name} {mine} here, {theirs} in {there}" for name, mine, theirs in compared if mine != theirs]
        if self.fingerprint.get(PARAMETER_NAMES) != other.fingerprint.get(PARAMETER_NAMES):
            remarks.append(f"the parameters have other names or another order than in {there}")
        return remarks

    @property
    def follows_loss(self) -> bool:
        """Whether the analysis is comparable only between nets of about the same loss."""
        return RESULT_TYPES[self.analysis].follows_loss


@dataclass(frozen=True)
class Entry:
    """The readings of one checkpoint by metric, and the runs that they come from by analysis.

    `path` is the checkpoint's place on this machine; a baseline does not keep it.
    """

    name: str
    sha256: str
    runs: Mapping[str, Run] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    path: str = ""


def entry_of_results(
    name: str,
    measured: Mapping[str, tuple[Result, Mapping[str, Any]]],
    metrics: Iterable[Metric],
    troubles: Mapping[str, Trouble] = MappingProxyType({}),
) -> Entry:
    """The entry of a checkpoint, from results with their attributes, by analysis.

    Metrics of an analysis in `troubles` get a reading that only says why there is no number; metrics of an analysis
    that is in neither mapping get no reading.
    """
    chosen = list(metrics)
    runs = {
        metric.analysis: run_of_result(metric.analysis, *measured[metric.analysis])
        for metric in chosen
        if metric.analysis in measured
    }
    readings = {
        str(metric): read_metric(measured[metric.analysis][0], metric) for metric in chosen if metric.analysis in runs
    }
    failed = {str(metric): troubles[metric.analysis] for metric in chosen if metric.analysis in troubles}
    missing = {
        metric: Reading(math.nan, not_gateable=trouble.why, fix=trouble.fix) for metric, trouble in failed.items()
    }
    sha256 = next((str(attributes["checkpoint_sha256"]) for _, attributes in measured.values()), "")
    return Entry(name, sha256, runs, {**readings, **missing}, path=name)


def run_of_result(analysis: str, result: Result, attributes: Mapping[str, Any]) -> Run:
    """The run of a result, from the attributes that it was stored with."""
    conditions, environment = (json.loads(str(attributes[key])) for key in ("conditions", "environment"))
    return Run(
        analysis,
        json.loads(str(attributes["fingerprint_parts"])),
        result.reference_loss(),
        int(getattr(result, "parameters", 0)),
        tuple(conditions.get("params") or ()),
        str(attributes["device"]),
        {name: version for name, version in environment.items() if name in STORED_VERSIONS},
    )


def _abbreviate(value: Any) -> str:
    text = "none" if value is None else str(value)
    return f"{text[:12]}..." if len(text) == 64 and text.isalnum() else text
