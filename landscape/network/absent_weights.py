"""Parameters that have a shape and no values: whoever reads one where its module does not run is told so.

Tensors of the meta device would not do: some of torch's products take them without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import TaskError

READABLE = frozenset(  # properties and methods of tensors that tell no value
    "shape dtype device layout ndim requires_grad is_leaf grad grad_fn is_meta is_cuda is_cpu is_mps is_xpu is_sparse "
    "is_quantized is_nested itemsize nbytes names size numel nelement dim ndimension is_floating_point is_complex "
    "element_size __len__".split()
)


class AbsentWeight(nn.Parameter):
    """A parameter without values, of which one zero lies in memory; all that reads it raises TaskError."""

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(function, "__self__", None), "__name__", "")
        if name in READABLE:
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **(kwargs or {}))
        raise TaskError(
            f"a weight is read where the module that owns it does not run (by {name or function})",
            why="--shard gathers the weights of a module while it runs, and drops them after it",
            fix="read it inside of its module's forward; --shard off: each rank then holds all weights",
        )


def absent(parameter: Tensor, device: torch.device, dtype: torch.dtype) -> AbsentWeight:
    """A parameter without values, of the shape of another; a real one in this dtype."""
    own = dtype if parameter.is_floating_point() else parameter.dtype
    zeros = torch.zeros((), dtype=own, device=device).expand(parameter.shape)
    made: AbsentWeight = torch.Tensor._make_subclass(AbsentWeight, zeros, parameter.requires_grad)
    return made


def take_values(parameter: nn.Parameter) -> None:
    """Frees a parameter's memory; what still holds it is told so where it reads it."""
    if isinstance(parameter, AbsentWeight):
        return
    if not parameter.is_meta:
        parameter.data = parameter.data.new_zeros(()).expand(parameter.shape)
    parameter.__class__ = AbsentWeight
