"""Whether a model takes parts of a batch: an adjacency matrix of N nodes has N rows, and no part of it is a graph."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch, to_device
from landscape.data.survey import Batches
from landscape.objective.checks.check import sample_count
from landscape.objective.model_function import ModelFunction

WHOLE_ONLY = "the model fails on a part of a batch, and takes the whole"


def takes_whole_batches_only(function: ModelFunction, theta: Tensor, batches: Batches) -> bool:
    """Whether the model fails on the first samples of a batch, and not on the whole of it."""
    whole = next((batch for batch in batches if batch.size > 1), None)
    if whole is None:
        return False
    part = next(whole.split(min(sample_count(theta.numel()), whole.size - 1)))
    return _fails(function, theta, part) and not _fails(function, theta, whole)


def _fails(function: ModelFunction, theta: Tensor, batch: Batch) -> bool:
    point = theta.detach().requires_grad_()
    function = replace(function, fixed={name: tensor.clone() for name, tensor in function.fixed.items()})
    placed = to_device(batch, theta.device, theta.dtype).map(Tensor.clone)
    try:
        with torch.enable_grad():  # the model may differentiate
            function.output(point, placed)
    except Exception as error:  # the user's model may raise anything
        if is_out_of_memory(error):
            raise
        return True
    return False
