"""The user's module: without its wrappers, in one mode for a forward pass, and its trainable parameters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from landscape.choices import Mode
from landscape.compute.patching import SharedPatch
from landscape.errors import TaskError, listing

# of the modules that are measured, in eval and in train mode
_PATCHES: dict[Mode, WeakKeyDictionary[nn.Module, SharedPatch]] = {
    "eval": WeakKeyDictionary(),
    "train": WeakKeyDictionary(),
}
_LOCK = threading.Lock()


def unwrap(model: nn.Module) -> nn.Module:
    """The plain module inside DataParallel, DistributedDataParallel and torch.compile; raises TaskError for FSDP."""
    if "FullyShardedDataParallel" in type(model).__name__:
        raise TaskError("the model is sharded by FSDP", fix="gather a full state dict and load it into a plain model")
    for wrapper in ("_orig_mod", "module"):
        inner = getattr(model, wrapper, None)
        wraps = wrapper == "_orig_mod" or isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        if wraps and isinstance(inner, nn.Module):
            return unwrap(inner)
    return model


def hold_mode(model: nn.Module, mode: Mode) -> AbstractContextManager[None]:
    """Eval or train mode within the block, with dense gradients of embeddings; then every submodule is as it was.

    Train mode is what the module's own `train()` makes it: some keep parts of themselves in eval mode.

    The mode is the user's module's own: a training step in another thread would see it.
    """
    with _LOCK:
        if (patch := _PATCHES[mode].get(model)) is None:
            patch = _PATCHES[mode][model] = SharedPatch(partial(_switch_mode, ref(model), mode))
    return patch.in_force()


def _switch_mode(model: ref[nn.Module], mode: Mode) -> Callable[[], None]:
    module = model()
    parts = [] if module is None else list(module.modules())
    before = [(part, part.training) for part in parts]
    sparse = [part for part in parts if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse]
    if mode == "train" and module is not None:
        module.train()
    else:
        for part in parts:
            part.training = False
    for table in sparse:
        table.sparse = False  # theta is one dense vector, and so is its gradient

    def restore() -> None:
        """The modes, and sparse gradients, that the modules had."""
        for part, training in before:
            part.training = training
        for table in sparse:
            table.sparse = True

    return restore


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name: those that theta may hold.

    Raises TaskError if there are none, or if one has no shape yet, is not real, or is split over processes.
    """
    split = [name for name, parameter in model.named_parameters() if hasattr(parameter, "device_mesh")]  # a DTensor
    if split:
        raise TaskError(
            f"parameters are split over processes (DTensor): {listing(split)}",
            why="sums over the data are made by the measurement itself, and a split model makes its own",
            fix="the model as it was before parallelize_module or fully_shard; --shard on splits weights by itself",
        )
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise TaskError("the model has no trainable parameter", fix="leave requires_grad on what is measured")
    lazy = [name for name, parameter in parameters.items() if is_lazy(parameter)]
    if lazy:
        raise TaskError(f"parameters have no shape yet: {listing(lazy)}", fix="run the model once before measuring")
    odd = [f"{name} ({parameter.dtype})" for name, parameter in parameters.items() if not parameter.is_floating_point()]
    if odd:
        raise TaskError(
            f"parameters are not real numbers: {listing(odd)}",
            fix="hold complex ones as pairs of reals, nn.Parameter(torch.view_as_real(w)), and use them as "
            "torch.view_as_complex(self.w); or leave them out with requires_grad_(False)",
        )
    return parameters


def first_names(model: nn.Module) -> dict[str, str]:
    """The first name of every parameter and buffer, by each of its names; tied tensors have several names."""
    first: dict[int, str] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors}


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape and dtype hold the same values, NaN at the same places."""
    if one.is_floating_point() or one.is_complex():
        return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
    return torch.equal(one, other)
