"""What helps where the loss or its gradient is not finite: the other precision, if it is finite there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import to_device
from landscape.errors import LandscapeError
from landscape.objective.batch_loss import BatchLoss

if TYPE_CHECKING:
    from landscape.objective.objective import Objective

ELSEWHERE = "look for bad samples in the data, or measure an earlier checkpoint"


def overflow_remedy(objective: Objective) -> str:
    """The precision in which the loss and its gradient are finite at the checkpoint, or where else to look.

    Some models are finite in float32 alone: they hide tokens by the least number of the precision, which overflows in
    attention whose softmax is computed in float32 always.
    """
    if objective.dtype == torch.float32:
        return "--dtype float64" if _is_finite_in(objective, torch.float64) else ELSEWHERE
    if _is_finite_in(objective, torch.float32):
        return "--dtype float32, in which they are finite: the model's own masks may overflow in float64"
    return ELSEWHERE


def _is_finite_in(objective: Objective, dtype: torch.dtype) -> bool:
    """Whether loss and gradient of every batch are finite in a precision."""
    batch_loss = BatchLoss(objective.function.to(dtype), objective.loss)
    theta = objective.theta.to(dtype)
    try:
        for batch in objective.batches:
            for part in [batch] if objective.as_given else batch.split(objective.micro_batch):
                total, gradient = batch_loss.batch_gradient(theta, to_device(part, theta.device, dtype))
                if not (total.isfinite() and gradient.isfinite().all()):
                    return False
    except Exception as error:  # the model cannot compute in that precision, or memory runs out
        if not isinstance(error, LandscapeError) and not is_out_of_memory(error):
            raise
        return False
    return True
