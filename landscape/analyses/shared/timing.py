"""How long the parts of a measurement take, for its plan."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.objective import Objective


def seconds_per_gradient(objective: Objective) -> float:
    """The time of one gradient over all data, extrapolated from one micro-batch after a warm-up."""
    trial = objective.first(objective.micro_batch)
    for _ in range(2):  # the first is the warm-up
        began = time.perf_counter()
        float(trial.gradient()[0])  # reading a number waits for the device
        seconds = time.perf_counter() - began
    return seconds * objective.batches.samples / trial.batches.samples
