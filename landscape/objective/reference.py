"""The loss at the checkpoint, and the norm of its gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.compute.inner_products import norm
from landscape.errors import NumericalError
from landscape.objective import preparation
from landscape.objective.overflow import overflow_remedy

if TYPE_CHECKING:
    from landscape.objective.objective import Objective


@dataclass(frozen=True)
class Reference:
    """The mean loss at theta and the norm of its gradient."""

    loss: float
    gradient_norm: float


def reference_of(objective: Objective) -> Reference:
    """The loss and gradient norm at theta; raises NumericalError, with the tensors' names, if not finite."""
    total, gradient = objective.value_and_gradient()
    loss = float(total)
    if not math.isfinite(loss):
        raise NumericalError(
            f"the loss at the checkpoint is {loss}",
            why="the weights are finite, so the model, the loss or the data overflow",
            fix=overflow_remedy(objective),
        )
    length = norm(gradient)
    if not math.isfinite(length):
        named = objective.parts_by_name(gradient)
        preparation.require_finite_tensors(named, "the gradient", fix=overflow_remedy(objective))
    return Reference(loss, length)
