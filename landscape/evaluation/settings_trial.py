"""A short trial of pass settings on a plane: the fastest settings that give the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.compute.budget import room
from landscape.compute.timing import shortest_seconds
from landscape.errors import TaskError
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.points import VECTORIZED_BYTES

if TYPE_CHECKING:
    from landscape.evaluation.sweep import Plane, Sweep

TIMED_PASSES = 2  # of each settings, after a warm-up; the fastest counts
MAX_TIME_RATIO = 0.97  # to the settings so far: faster by more than the scatter of timings
TEST_COORDINATE = 0.3  # of a point where all settings must agree: a batch's samples may depend on each other
AGREEMENT_RTOL = 1e-4  # of numbers there: float32 sums in another order agree far better
VECTORIZED_POINTS = 32  # in one pass: on CUDA, and for small nets


def use_fastest_settings(sweep: Sweep, plane: Plane) -> None:
    """Changes the sweep's settings one by one, and keeps each change that is faster and gives the same numbers."""
    point = [TEST_COORDINATE] * len(plane.directions)
    expected = sweep.evaluate(plane, [point])
    for change in _changes(sweep, plane):
        earlier, changed = sweep.settings, replace(sweep.settings, **change)
        sweep.use_settings(changed)
        try:
            agrees = np.allclose(sweep.evaluate(plane, [point]), expected, rtol=AGREEMENT_RTOL, equal_nan=True)
        except TaskError:  # the model takes its own layout only
            agrees = False
        # timed twice, in turn: other users may slow down a shared machine for a moment
        if not (agrees and all(_is_faster(sweep, plane, changed, earlier) for _ in range(2))):
            sweep.use_settings(earlier)


def _is_faster(sweep: Sweep, plane: Plane, new: PassSettings, old: PassSettings) -> bool:
    """Whether the new settings take clearly less time for a point; leaves them in use."""
    seconds = []
    for settings in (old, new):
        sweep.use_settings(settings)
        points = [[0.0] * len(plane.directions)] * settings.points
        seconds.append(shortest_seconds(lambda: sweep.evaluate(plane, points), TIMED_PASSES) / len(points))  # noqa: B023
    return seconds[1] < MAX_TIME_RATIO * seconds[0]


def _changes(sweep: Sweep, plane: Plane) -> Iterator[dict[str, Any]]:
    """The changes of settings to try, in turn; later ones depend on the settings that are then in use."""
    if sweep.copy.convolutions:
        yield {"channels_last": True}
    objective = sweep.objective
    samples, own = objective.batches.samples, objective.largest_micro_batch
    most = room("micro-batch", objective.device) // max(objective.activation_bytes, 1)
    sizes = {size for size in (own // 4, own // 2, 2 * own, 4 * own, samples) if 0 < size <= min(most, samples)}
    if objective.batches.whole is not None:
        yield from ({"samples": size} for size in sorted(sizes - {own}))
    each = 4 * objective.theta.nbytes + objective.activation_bytes * (sweep.settings.samples or own)
    budget = room("micro-batch", objective.device) if objective.device.type == "cuda" else VECTORIZED_BYTES
    if plane.statistics is None and VECTORIZED_POINTS * each <= budget:
        yield {"points": VECTORIZED_POINTS}
