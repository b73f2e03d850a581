"""Models and objectives on which the strategies of products are tested."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.strategy import Hvp, ProductSettings


class Counted(nn.Sequential):
    """A net that counts its forward passes."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.passes += 1
        return super().forward(x)


def objective_of(model: nn.Module, data: Any, hvp: Hvp = "auto", **options: Any) -> Objective:
    return Objective(model, data, "cross_entropy", **{"dtype": "float64"} | options, settings=ProductSettings(hvp))


class Twice(torch.autograd.Function):
    """x^2 whose second derivative reads a value, which several vectors at once do not have."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        result: Tensor = Slope.apply(gradient, x)  # type: ignore[no-untyped-call]
        return result


class Slope(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gradient: Tensor, x: Tensor) -> Tensor:
        context.save_for_backward(gradient, x)
        return 2 * gradient * x

    @staticmethod
    def backward(context: Any, vector: Tensor) -> tuple[Tensor, Tensor]:
        gradient, x = context.saved_tensors
        float(vector.sum())
        return 2 * vector * x, 2 * vector * gradient


class Valued(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = Twice.apply(x)  # type: ignore[no-untyped-call]
        return result
