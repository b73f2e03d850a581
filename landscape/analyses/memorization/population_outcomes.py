"""The losses and accuracies of every population at a series of points in parameter space."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from functools import partial

import numpy as np
import torch

from landscape.analyses.base import Progress, State
from landscape.errors import NumericalError
from landscape.evaluation.per_sample.outcomes import SampleOutcomes, sample_outcomes
from landscape.objective import Objective
from landscape.objective.model_function import Theta

Points = Mapping[str, Callable[[], Theta]]  # functions that make a theta, by the name of the point
PointOutcomes = dict[str, dict[str, SampleOutcomes]]  # outcomes by point, then by population


def measure_points(
    populations: Mapping[str, Objective],
    points: Points,
    saved: State,
    *,
    note: str,
    enough: Callable[[PointOutcomes], bool] = lambda measured: False,
) -> Generator[Progress, None, PointOutcomes]:
    """The outcomes at each point, one progress step a point; stops early when `enough` returns true.

    Raises NumericalError if the loss of a population is not finite at the first point.
    """
    arrays: dict[str, np.ndarray] = dict(saved)
    measured: PointOutcomes = {}
    for done, (point, make_theta) in enumerate(points.items(), start=1):
        fresh = not all(f"{point}/{name}" in arrays for name in populations)
        if fresh:
            theta = make_theta()
            for name, objective in populations.items():
                arrays[f"{point}/{name}"] = _to_array(sample_outcomes(objective, theta))
            del theta  # before the next one is made
        measured[point] = {name: _from_array(arrays[f"{point}/{name}"]) for name in populations}
        if done == 1:
            _require_finite(measured[point])
        if fresh:
            yield Progress(done, len(points), f"{note}, {point}", partial(dict, dict(arrays)))
        if enough(measured):
            break
    return measured


def _require_finite(by_population: Mapping[str, SampleOutcomes]) -> None:
    """Raises NumericalError that names the populations whose mean loss is NaN or infinite."""
    bad = [f"{name} ({one.loss})" for name, one in by_population.items() if not math.isfinite(one.loss)]
    if bad:
        raise NumericalError(
            f"the loss of a population is not finite: {', '.join(bad)}", fix="look for bad samples in it"
        )


def _to_array(found: SampleOutcomes) -> np.ndarray:
    """The outcomes as rows `(3, N)` of a snapshot."""
    return torch.stack([found.losses, found.counts, found.right]).cpu().numpy()


def _from_array(rows: np.ndarray) -> SampleOutcomes:
    return SampleOutcomes(*torch.from_numpy(rows))
