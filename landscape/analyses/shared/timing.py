"""Seconds that the parts of a measurement take, for its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.compute.timing import shortest

if TYPE_CHECKING:
    from landscape.objective import Objective


def seconds_per_gradient(objective: Objective) -> float:
    """Seconds for one gradient over all data, extrapolated from one micro-batch after a warm-up."""
    trial = objective.first(objective.micro_batch)
    return shortest(trial.gradient, rounds=1) * objective.batches.samples / trial.batches.samples
