"""The micro-batch: how many samples fit into memory at once; with it the time of a gradient, for plans.

Where memory runs out nevertheless, the samples are halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from landscape.compute import memory, ranks
from landscape.compute.aligned_sums import SHARES
from landscape.compute.budget import room
from landscape.compute.out_of_memory import is_out_of_memory
from landscape.compute.timing import extrapolate
from landscape.data.batches import Batch, to_device
from landscape.data.survey import Batches
from landscape.data.trees import dense_parts
from landscape.errors import OutOfMemory

if TYPE_CHECKING:
    from landscape.objective.objective import Objective

T = TypeVar("T")


@dataclass(frozen=True)
class SampleCost:
    """What the gradient of one sample takes: its seconds, and the bytes of the outputs that the loss is of."""

    seconds: float
    output_bytes: int


CONCATENATED_BYTES = 128 << 20  # activations of a micro-batch from which on launching operations no longer counts
# Of a micro-batch's largest tensor on the CPU: 300,000 samples of a net of 20-32-3 take 1.3 s in pieces of 30,000, of
# which it takes 3.7 MB, and 3.3 s at once; digits-resnet and charlm are as fast with 4 MB as with more.
CACHE_BYTES = 4 << 20
SUMS_SHARE = (
    32  # activations of a micro-batch in copies of the parameters, so that adding up gradients is a small share
)
WHOLE_BATCH = 256  # samples: smaller batches of the data are not cut for a cache, whose samples are large
GRAPHS_PER_FORWARD = 6  # a product holds forward, gradient and second-backward graphs: measured 3 to 6 forwards


class Activations(NamedTuple):
    """The bytes of a sample that a forward pass keeps for its backward pass: all of them, and the largest tensor's."""

    size: int
    largest: int

    def of_sample(self, samples: int) -> Activations:
        """A sample's share."""
        return Activations(self.size // samples, self.largest // samples)


def measure_activations(total: Callable[[Tensor, Batch], Tensor], theta: Tensor, batch: Batch) -> Activations:
    """What the forward pass `total(theta, batch)` keeps of a sample for its backward pass."""
    point = theta.detach().requires_grad_()
    with torch.enable_grad():
        return watch_activations(lambda: total(point, batch), point)[1].of_sample(batch.size)


def watch_activations(work: Callable[[], T], point: Tensor) -> tuple[T, Activations]:
    """What a forward pass returns, and what it keeps for its backward pass, without what belongs to `point`."""
    kept: dict[int, int] = {}

    def weigh(tensor: Tensor) -> None:
        """Counts a saved tensor once, however often it is saved."""
        kept.update((part.data_ptr(), part.nbytes) for part in dense_parts(tensor))

    result = memory.watch_saved_tensors(work, weigh)
    inside = range(point.data_ptr(), point.data_ptr() + point.nbytes)
    sizes = [size for pointer, size in kept.items() if pointer not in inside]
    return result, Activations(sum(sizes), max(sizes, default=0))


def plan_micro_batch(batches: Batches, activations: Activations, like: Tensor, parameters: int) -> int:
    """The number of samples whose graphs fit into their share of the free memory, where `like` lies.

    Concatenated batches take no more than launching operations can gain from, and on the CPU no more than leaves the
    largest tensor in a cache, unless sums over micro-batches would then cost more than that saves. Those that ranks
    measure together are cut into the shares that are dealt out, however many ranks there are.
    """
    budget = room("micro-batch", like.device)
    each = max(activations.size, 1)
    own, samples = batches.largest, batches.samples
    useful = own if batches.whole is None else max(own, min(samples, CONCATENATED_BYTES // each))
    if like.device.type == "cpu":
        in_cache = CACHE_BYTES // max(activations.largest, 1)
        useful = min(useful, max(in_cache, SUMS_SHARE * parameters * like.itemsize // each, min(own, WHOLE_BATCH)))
    return max(1, min(budget // (each * GRAPHS_PER_FORWARD), dealt_micro_batch(useful, samples)))


def dealt_micro_batch(useful: int, samples: int) -> int:
    """The size of a micro-batch: the useful one, or that of the shares of the data that are dealt out to ranks."""
    if not ranks.current().launched:
        return useful
    return min(useful, -(-samples // max(SHARES, ranks.current().size)))


def run_on_fitting_parts(
    kernel: Callable[[Batch], T],
    batch: Batch,
    device: torch.device,
    dtype: torch.dtype,
    shrink: Callable[[int], None] | None,
) -> Iterator[T]:
    """The kernel's result on the batch, or its results on halves of the batch where memory runs out.

    `shrink` is told the number of samples of a half; None forbids halves. Raises OutOfMemory if one sample alone, or a
    batch that must stay whole, does not fit.
    """
    try:
        yield kernel(to_device(batch, device, dtype))
        return
    except Exception as error:  # a RuntimeError, or NumPy's MemoryError inside the user's model
        if not is_out_of_memory(error):
            raise
        if shrink is None:
            raise OutOfMemory(
                f"a batch of {batch.size} samples does not fit into memory",
                why="the loss depends on where batches end, so that the batch cannot be split",
                fix="smaller batches from --data (another objective), --device cpu, or --params",
            ) from error
        if batch.size == 1:
            one = "one batch alone, which is one unit," if batch.unit else "one sample alone"
            raise OutOfMemory(f"{one} does not fit into memory", fix="--device cpu, or --params") from error
    if device.type == "cuda":
        torch.cuda.empty_cache()
    size = max(1, batch.size // 2)
    shrink(size)
    for half in batch.split(size):
        yield from run_on_fitting_parts(kernel, half, device, dtype, shrink)


def seconds_per_gradient(objective: Objective) -> float:
    """Seconds for one gradient over all data: as an objective for a plan knows it, else timed after a warm-up."""
    samples = objective.batches.samples
    if objective.sample_cost is not None:
        return objective.sample_cost.seconds * samples
    trial = objective.first(objective.micro_batch)
    return extrapolate(trial.gradient, trial.batches.samples, samples)
