"""The same objective on some of its samples, chosen by their places in the data."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.objective import Objective


def on_chosen_samples(objective: Objective, places: Sequence[int]) -> Objective:
    """The objective over the samples at these ascending places, in their order.

    Raises TaskError for batches that are units, whose samples cannot be taken apart.
    """
    pieces: list[Batch] = []
    for batch in objective.batches:
        begin, end = (bisect_left(places, place) for place in (batch.first, batch.first + batch.size))
        if begin == end:
            continue
        if batch.unit:
            raise TaskError(f"single samples of a batch cannot be chosen: {batch.unit}", fix="all samples of the data")
        piece = batch.take([place - batch.first for place in places[begin:end]])
        pieces.append(piece if objective.batches.kept else piece.map(Tensor.clone))
    return objective.with_samples(pieces)
