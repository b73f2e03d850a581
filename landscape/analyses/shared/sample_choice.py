"""Chooses how many samples an error by the data needs: from a few, doubled until the error is small enough."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.analyses.shared.data_error import parse_share
from landscape.errors import NothingCountedError, UsageError
from landscape.evaluation.random_samples import on_random_samples
from landscape.fields import Option, described_fields

if TYPE_CHECKING:
    from landscape.analyses.shared.curvature import Resampled
    from landscape.analyses.shared.phases import Phases
    from landscape.objective import Objective

FIRST_SAMPLES = 64  # the fewest that are tried: groups of 3 samples still tell a standard error
GROUPS = 20  # of samples, for the standard error, which they tell to 16 %
ALGORITHM_SHARE = {"tol": 0.1, "rtol": 0.5}  # of the error asked for, which products are allowed: 3 % of the whole

AnalysisT = TypeVar("AnalysisT", bound="Resampled")
MeasureError = Callable[["Objective"], Generator[Progress, None, "PartError"]]


@dataclass(frozen=True)
class PartError:
    """The error by the data of a part, relative to the value there, and the gradients of the part that it took."""

    error: float
    gradients: float


@dataclass(frozen=True)
class ChosenSamples:
    """The objective on the samples that were chosen, and the work of the choice, in its gradients."""

    objective: Objective
    gradients: float = 0.0


def fit_options(analysis: AnalysisT, tolerance: str, samples: int) -> AnalysisT:
    """The analysis with groups of samples, and with the tolerance of products that fits the error by the data.

    A tolerance that differs from its default is the user's, and stays. Without --data-error nothing changes. Raises
    UsageError for a single sample.
    """
    if analysis.data_error is None:
        return analysis
    if samples < 2:
        raise UsageError(
            f"--data-error {analysis.data_error} of a single sample",
            why="the error by the choice of samples follows from how samples differ",
            fix="more data, or leave --data-error out",
        )
    changes: dict[str, Any] = {"resample": analysis.resample or min(GROUPS, samples)}
    default = next(field.default for field in described_fields(type(analysis), Option) if field.name == tolerance)
    if getattr(analysis, tolerance) == default:
        changes[tolerance] = max(default, ALGORITHM_SHARE[tolerance] * parse_share(analysis.data_error))
    return replace(analysis, **changes)


def choose_samples(
    analysis: Resampled, objective: Objective, phases: Phases, measure_error: MeasureError
) -> Generator[Progress, None, ChosenSamples]:
    """The objective on as many random samples as the error asked for needs, or on all of them.

    Yields after each product of `measure_error`. A part in which the loss counts nothing is too small.
    """
    total = objective.batches.samples
    target, count = parse_share(analysis.data_error), min(max(FIRST_SAMPLES, analysis.resample), total)
    work = 0.0  # in gradients of a sample
    while True:
        try:
            part = on_random_samples(objective, count, analysis.seed)
        except NothingCountedError:
            if count == total:
                raise
        else:
            found = yield from phases.run(f"{count} samples", partial(_measure, measure_error, part))
            work += count * found.gradients
            if found.error <= target or count == total:
                return ChosenSamples(part, work / count)
        count = min(2 * count, total)


def describe_choice(samples: int, error: str) -> str:
    """For a plan: how many samples are taken."""
    return f"from {min(FIRST_SAMPLES, samples)}, doubled until the data err by {error}, to all {samples} as planned"


def _measure(measure_error: MeasureError, part: Objective, saved: State) -> Generator[Progress, None, PartError]:
    """The error of one part; a finished one is a snapshot, an unfinished one begins again."""
    if "error" in saved:
        return PartError(float(saved["error"]), float(saved["gradients"]))
    name = f"{part.batches.samples} samples"
    steps = measure_error(part)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            found: PartError = end.value
            break
        yield replace(step, done=0, note=f"choosing samples, {name}: {step.note}", state=dict)
    note = f"choosing samples, {name}: error by the data {100 * found.error:.2g} %"
    finished = {"error": np.array(found.error), "gradients": np.array(found.gradients)}
    yield Progress(0, 1, note, finished.copy)
    return found
