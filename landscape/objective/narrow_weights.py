"""A model function whose weights are kept in fewer bits than it computes in."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from landscape.data.batches import Batch, to_device
from landscape.data.survey import Batches
from landscape.losses.protocol import Loss
from landscape.network.stored_weights import keep_narrow
from landscape.objective.checks.check import sample_count
from landscape.objective.checks.float64 import agree
from landscape.objective.model_function import ModelFunction


def with_narrow_weights(
    function: ModelFunction, theta: Tensor, kind: str, loss: Loss, batch: Batch
) -> tuple[ModelFunction, Tensor]:
    """The function with weights in a narrow dtype, and theta `(P,)` as the difference from them: zeros.

    Blocks cast their weights by themselves, unless a part of one is used outside of it: the loss of the batch, or its
    gradient, then changes.
    """
    parts, parameters = function.space.unflatten(theta), function.scope.parameters()
    kept, zeros = keep_narrow(parts, theta, parameters, kind)
    whole = replace(function, stored=kept, casts_by_block=False)
    by_block = replace(whole, casts_by_block=True)
    return (by_block if agree(by_block, whole, zeros, loss, batch) else whole), zeros


def narrow_on_samples(
    function: ModelFunction, theta: Tensor, kind: str, loss: Loss, batches: Batches
) -> tuple[ModelFunction, Tensor]:
    """As `with_narrow_weights`, tried on the first few samples of the data."""
    few = next(next(iter(batches)).split(sample_count(len(theta))))
    return with_narrow_weights(function, theta, kind, loss, to_device(few, theta.device, theta.dtype))
