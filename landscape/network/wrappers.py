"""The user's module: without its wrappers, in eval mode for a while, and with the parameters that can be measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.parameter import is_lazy

from landscape.errors import TaskError, listing


def unwrap(model: nn.Module) -> nn.Module:
    """The plain module inside DataParallel, DistributedDataParallel and torch.compile; FSDP is refused."""
    if "FullyShardedDataParallel" in type(model).__name__:
        raise TaskError("the model is sharded by FSDP", fix="gather a full state dict and load it into a plain model")
    for wrapper in ("_orig_mod", "module"):
        inner = getattr(model, wrapper, None)
        wraps = wrapper == "_orig_mod" or isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        if wraps and isinstance(inner, nn.Module):
            return unwrap(inner)
    return model


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode for the time of a forward pass; every submodule's own mode is restored."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that theta may hold; raises TaskError if there are none, or some that no theta can hold."""
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise TaskError("the model has no trainable parameter", fix="leave requires_grad on what is measured")
    lazy = [name for name, parameter in trainable.items() if is_lazy(parameter)]
    if lazy:
        raise TaskError(f"parameters have no shape yet: {listing(lazy)}", fix="run the model once before measuring")
    odd = [f"{name} ({parameter.dtype})" for name, parameter in trainable.items() if not parameter.is_floating_point()]
    if odd:
        raise TaskError(
            f"parameters are not real numbers: {listing(odd)}", fix="leave them out with requires_grad_(False)"
        )
    return trainable


def first_names(model: nn.Module) -> dict[str, str]:
    """The first name of every parameter and buffer, by each of its names: tied ones have several."""
    first: dict[int, str] = {}
    held = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in held}
