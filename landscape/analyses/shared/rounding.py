"""How far apart two values of a function of the weights must be to stand clear of rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.objective import Objective

ROUNDING_DRAWS = 4  # random last-bit changes of all weights from which the rounding of the loss is known
NOISE_MULTIPLE = 10  # a rise counts if it is this many times what such changes make
MIN_EPSILONS = 100  # and at least so many machine epsilons of the loss


def rounding_floor(objective: Objective, function: Callable[[Tensor], float], base: float, seed: int) -> float:
    """The smallest rise of a function of theta above `base`, its value at the weights, that is clear of rounding.

    A loss of confident logits is a difference of large numbers: its rounding is measured, by changing the last bit of
    every weight at random.
    """
    import torch

    from landscape import seeds

    epsilon = torch.finfo(objective.dtype).eps
    squares = 0.0
    for draw in range(ROUNDING_DRAWS):
        signs = seeds.normal(len(objective.theta), objective.theta, seed, "rounding", draw).sign_()
        squares += (function(objective.theta * (1 + epsilon * signs)) - base) ** 2
    return float(max(NOISE_MULTIPLE * (squares / ROUNDING_DRAWS) ** 0.5, MIN_EPSILONS * epsilon * abs(base)))
