"""The data of an objective cut into pieces for passes without a graph, which may be larger than those with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from landscape import memory
from landscape.batches import Batch, batch_leaves, placed
from landscape.objective import Objective

SHARE = 4  # joined data, and the activations of a pass, take at most 1/4 of the free memory each


def own_batches(objective: Objective) -> Iterator[Batch]:
    """The data's own batches, on the device."""
    for batch in objective.batches:
        yield placed(batch, objective.device, objective.dtype)


def joined(objective: Objective) -> Batch | None:
    """All data as one batch; None if they are not in memory, would not fit twice, differ in shape, or hold more than
    tensors.
    """
    if not objective.batches.kept:
        return None
    batches = list(objective.batches)
    size = sum(tensor.nbytes for batch in batches for tensor in batch_leaves(batch))
    kinds = [[(tensor.shape[1:], tensor.dtype) for tensor in batch_leaves(batch)] for batch in batches]
    whole = all(_of_tensors((batch.inputs, batch.targets)) for batch in batches)
    if not whole or any(kind != kinds[0] for kind in kinds) or size > memory.available(objective.device) // SHARE:
        return None
    parts = [iter(_visited(batch)) for batch in batches]
    return batches[0].map(lambda _: torch.cat([next(part) for part in parts]))


def pieces(objective: Objective, together: Batch | None, samples: int, *, channels_last: bool) -> Iterator[Batch]:
    """Pieces of `samples` of the joined data; with 0, or none joined, those that the objective itself uses."""
    batches = own_batches(objective) if together is None or not samples else iter([together])
    for batch in batches:
        for piece in batch.split(samples or objective.micro_batch):
            yield piece.map(_channels_last) if channels_last else piece


def _of_tensors(tree: Any) -> bool:
    """Whether a tree of tuples, lists and dictionaries holds nothing but tensors."""
    if isinstance(tree, dict):
        return all(_of_tensors(part) for part in tree.values())
    if isinstance(tree, tuple | list):
        return all(_of_tensors(part) for part in tree)
    return isinstance(tree, Tensor)


def _visited(batch: Batch) -> list[Tensor]:
    """The tensors in the order in which `Batch.map` visits them."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    batch.map(keep)
    return found


def _channels_last(tensor: Tensor) -> Tensor:
    """Images with their channels innermost in memory; anything else as it is."""
    images = tensor.ndim == 4 and tensor.is_floating_point()
    return tensor.contiguous(memory_format=torch.channels_last) if images else tensor
