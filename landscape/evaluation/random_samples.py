"""The same objective on a random part of its samples, in random order."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape import seeds
from landscape.data.batches import Batch
from landscape.objective import Objective


def on_random_samples(objective: Objective, count: int, seed: int) -> Objective:
    """The objective over `count` of its samples, drawn without replacement; a larger part holds every smaller one.

    Consecutive samples of the part are themselves random, also where the data are sorted. All samples of data that are
    not kept in memory stay in their order. Raises TaskError where the loss depends on where batches end.
    """
    batches = objective.batches
    if count >= batches.samples and not batches.kept:
        return objective
    order = torch.argsort(seeds.normal(batches.samples, torch.zeros(()), seed, "samples"))[:count].tolist()
    if batches.whole is not None:
        return objective.with_samples([batches.whole.take(order)])
    return objective.with_samples(_pieces(objective, {place: rank for rank, place in enumerate(order)}))


def _pieces(objective: Objective, ranks: dict[int, int]) -> list[Batch]:
    """The drawn samples of each batch in the order of their ranks, and the batches in that of their first ones."""
    pieces: list[tuple[int, Batch]] = []
    for batch in objective.batches:
        drawn = sorted(range(batch.first, batch.first + batch.size), key=lambda place: ranks.get(place, -1))
        drawn = [place for place in drawn if place in ranks]
        if not drawn:
            continue
        piece = batch.take([place - batch.first for place in drawn])
        # a batch that is a unit is no copy, and a loader may fill one buffer again and again
        pieces.append((ranks[drawn[0]], piece if objective.batches.kept else piece.map(Tensor.clone)))
    return [piece for _, piece in sorted(pieces, key=lambda ranked: ranked[0])]
