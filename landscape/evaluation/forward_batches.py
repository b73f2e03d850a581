"""The batches of forward passes without a graph, which may be larger than those of passes with one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.data.batches import Batch, to_device
from landscape.objective import Objective


def data_batches(objective: Objective) -> Iterator[Batch]:
    """The data's own batches (not the micro-batches), on the device."""
    for batch in objective.batches:
        yield to_device(batch, objective.device, objective.dtype)


def forward_batches(objective: Objective, samples: int, *, channels_last: bool) -> Iterator[Batch]:
    """Batches of `samples` of the concatenated data, on the device.

    With 0 samples, or data that are not concatenated, these are the objective's own micro-batches.
    """
    whole = objective.batches.whole
    for piece in objective.micro_batches() if whole is None or not samples else whole.split(samples):
        batch = to_device(piece, objective.device, objective.dtype)
        yield batch.map(_to_channels_last) if channels_last else batch


def _to_channels_last(tensor: Tensor) -> Tensor:
    """Images with their channels innermost in memory; any other tensor as it is."""
    images = tensor.ndim == 4 and tensor.is_floating_point()
    return tensor.contiguous(memory_format=torch.channels_last) if images else tensor
