"""The time of a gradient by counting: what its operations take on a common core, whatever this machine takes.

It follows from the shapes of the model and the data alone, so that whatever is decided by it is decided alike on every
run, rank and machine of one kind. Clocks decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.compute.operation_count import OperationCount

if TYPE_CHECKING:
    from landscape.objective.objective import Objective

# One core of a common machine in float32, as measured on eight nets from 3,000 to 2,400,000 parameters (two of them
# residual or attention nets), whose gradients take 0.8 to 1.2 times what these rates tell.
OPERATIONS_PER_SECOND = 8e10  # of matrix products and convolutions
NUMBERS_PER_SECOND = 4e9  # that all other operations write
SECONDS_PER_CALL = 1e-5  # of each operation, however small
ACCELERATOR_RATE = 50  # times a core's rates: less than any accelerator that compute.machines knows; calls take as long
COUNTED_SAMPLES = 8  # of the larger of two gradients that are counted; what grows between them belongs to samples
FLOAT32_BYTES = 4


@dataclass(frozen=True)
class GradientCount:
    """What the gradient of n samples takes: operations and numbers for each sample, and numbers and calls besides."""

    operations: float
    numbers: float
    fixed_numbers: float
    calls: int

    def seconds(self, samples: int, rate: float = 1.0) -> float:
        """Seconds of a gradient of so many samples at `rate` times the rates of a common core."""
        numbers = self.fixed_numbers + self.numbers * samples
        work = self.operations * samples / OPERATIONS_PER_SECOND + numbers / NUMBERS_PER_SECOND
        return work / rate + self.calls * SECONDS_PER_CALL


def count_gradient(objective: Objective) -> GradientCount:
    """What a gradient takes, counted once for an objective; one without numbers has its count from elsewhere."""
    if objective.gradient_count is None:
        objective.gradient_count = _count_few(objective)
    return objective.gradient_count


def seconds_per_gradient_by_count(objective: Objective) -> float:
    """Seconds of one gradient over all data on a common core, by counting; on an accelerator, on a common one."""
    return count_gradient(objective).seconds(objective.batches.samples, _rate(objective))


def seconds_of_numbers_by_count(objective: Objective, numbers: float) -> float:
    """Seconds in which as many numbers of the objective's precision are read or written on its kind of device."""
    return numbers / NUMBERS_PER_SECOND / _rate(objective)


def _rate(objective: Objective) -> float:
    """How many times as fast as a common core in float32 the objective's kind of device is in its precision."""
    return (1 if objective.device.type == "cpu" else ACCELERATOR_RATE) * FLOAT32_BYTES / objective.dtype.itemsize


def _count_few(objective: Objective) -> GradientCount:
    """Counts the gradients of the first few samples and of half as many; all of one belongs to a single sample.

    No more samples are taken than fit into memory. The counts grow linearly with them, and do not depend on how many.
    """
    few = objective.first(min(COUNTED_SAMPLES, max(2, objective.micro_batch)))
    samples, more = few.batches.samples, _count(few)
    half = samples // 2
    if not half:
        return GradientCount(more.operations, float(more.numbers), 0.0, more.calls)
    fewer, grown = _count(objective.first(half)), samples - half
    numbers = (more.numbers - fewer.numbers) / grown
    operations = (more.operations - fewer.operations) / grown
    return GradientCount(operations, numbers, max(more.numbers - numbers * samples, 0.0), more.calls)


def _count(objective: Objective) -> OperationCount:
    """The counts of one gradient of all the objective's samples."""
    count = OperationCount()
    with count:
        for batch in objective.batches:
            objective.batch_gradient(objective.theta, batch)
    return count
