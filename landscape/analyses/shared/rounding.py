"""The smallest change of a function of the weights that is clear of rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from landscape import seeds

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.objective import Objective

ROUNDING_DRAWS = 4  # random last-bit changes of all weights from which the rounding is measured
NOISE_MULTIPLE = 10  # a rise counts if it is so many times the changes by rounding ...
MIN_EPSILONS = 100  # ... and at least so many machine epsilons of the function's value


def smallest_clear_rise(objective: Objective, function: Callable[[Tensor], float], base: float, seed: int) -> float:
    """The smallest rise of `function` of theta `(P,)` above `base`, its value at the weights, that is not rounding.

    The loss of confident logits is a small difference of large numbers. So rounding is measured: by how much the
    function changes when the last bit of every weight changes at random.
    """
    epsilon = torch.finfo(objective.dtype).eps
    squares = 0.0
    near = torch.empty_like(objective.theta)
    for draw in range(ROUNDING_DRAWS):
        seeds.fill_normal(near, seed, "rounding", draw).sign_()
        near.mul_(epsilon).add_(1).mul_(objective.theta)
        squares += (function(near) - base) ** 2
    return float(max(NOISE_MULTIPLE * (squares / ROUNDING_DRAWS) ** 0.5, MIN_EPSILONS * epsilon * abs(base)))
