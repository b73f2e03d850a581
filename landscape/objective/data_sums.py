"""Sums over the data of an objective: by micro-batch, by share of the data, and over the ranks together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from torch import Tensor

from landscape.compute.aligned_sums import AlignedSums, share_count, share_of
from landscape.compute.rank_failures import dealing
from landscape.data.batches import Batch
from landscape.data.prefetch import prefetch
from landscape.objective.micro_batch import run_on_fitting_parts

if TYPE_CHECKING:
    from landscape.objective.objective import Objective

Parts = tuple[Tensor, ...]


def sum_over_data(
    objective: Objective,
    kernel: Callable[[Batch], Parts],
    batches: Iterable[Batch],
    shrink: Callable[[int], None] | None,
) -> Parts:
    """The sums of what `kernel` returns for all batches; each rank computes its share of them.

    Where memory runs out, batches are halved, and `shrink` is told the number of samples that fit: of all ranks, in the
    end. Raises on every rank what one of them raises.
    """
    ranks, found, fits = objective.ranks, AlignedSums(), list[int]()
    take = shrink or objective.take_fewer

    def smaller(samples: int) -> None:
        """Notes that so many samples fit; a rank alone may take no more at once from now on."""
        fits.append(samples)
        if ranks.size == 1:
            take(samples)

    total, error = None, None
    try:
        _add_own(objective, kernel, batches, found, None if objective.as_given else smaller)
        total = found.total()
    except Exception as caught:  # of the user's code too: the other ranks must not wait for this one
        if ranks.size == 1:
            raise
        error = caught
    if ranks.size == 1 and total is not None:
        return total
    summed = ranks.sum(total, objective.device, error, min(fits, default=0))
    if summed.fitting:
        take(summed.fitting)
    return summed.parts


def _add_own(
    objective: Objective,
    kernel: Callable[[Batch], Parts],
    batches: Iterable[Batch],
    found: AlignedSums,
    smaller: Callable[[int], None] | None,
) -> None:
    """Adds what the kernel returns for this rank's batches."""
    ranks, samples, places = objective.ranks, objective.batches.samples, deque[int]()
    shares = share_count(objective.space.size, ranks.size)

    def own() -> Iterator[Batch]:
        """The batches of this rank; `places` has the shares of those that are under way."""
        position = 0
        for batch in batches:
            share = share_of(position, samples, shares)
            position += batch.size
            if ranks.owns(share, shares):
                places.append(share)
                yield batch

    with objective.precision(), dealing() if ranks.size > 1 else nullcontext():
        for piece in prefetch(own(), objective.device, objective.dtype):
            share = places.popleft()
            for parts in run_on_fitting_parts(kernel, piece, objective.device, objective.dtype, smaller):
                found.add(share, parts)
                del parts  # or they would be held while the next ones are computed
