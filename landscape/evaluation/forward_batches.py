"""The data of an objective cut into pieces for passes without a graph, which may be larger than those with one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.data.batches import Batch, to_device
from landscape.objective import Objective


def data_batches(objective: Objective) -> Iterator[Batch]:
    """The data's own batches, on the device."""
    for batch in objective.batches:
        yield to_device(batch, objective.device, objective.dtype)


def forward_batches(objective: Objective, samples: int, *, channels_last: bool) -> Iterator[Batch]:
    """Pieces of `samples` of all data joined; with 0, or where they are not, those that the objective itself uses."""
    whole = objective.batches.whole
    for piece in objective.micro_batches() if whole is None or not samples else whole.split(samples):
        there = to_device(piece, objective.device, objective.dtype)
        yield there.map(_channels_last) if channels_last else there


def _channels_last(tensor: Tensor) -> Tensor:
    """Images with their channels innermost in memory; anything else as it is."""
    images = tensor.ndim == 4 and tensor.is_floating_point()
    return tensor.contiguous(memory_format=torch.channels_last) if images else tensor
