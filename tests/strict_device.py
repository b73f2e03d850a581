"""A second device without a GPU: `strict` computes on the CPU and refuses to be mixed with it, as CUDA does.

Importing this module registers the device. Its tensors hold a CPU tensor each; an operation runs on these, and its
results are wrapped again. An operation between a strict tensor and a CPU tensor of one or more dimensions raises, and
so does `numpy()`. Streams, pinned memory and graphs are not imitated. LSTM cells and `parameter.data = ...`
(as in Module.to(memory_format=...)) are not available, and an error inside a backward pass ends
the process. The mechanism is PyTorch's PrivateUse1 backend in Python (torch.utils.backend_registration and
torch.library).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "strict"
_setup_privateuseone_for_python_backend(NAME)
torch.autograd.set_multithreading_enabled(False)  # a thread of the device could abort the process at its end
aten = torch.ops.aten
# the operations that may see both devices: copies, and places in a strict tensor that the CPU names
MIXED = (aten._to_copy.default, aten.copy_.default, aten.index.Tensor, aten.index_put_.default, aten.index_put.default)


class StrictTensor(Tensor):
    """A tensor on the device `strict`; its numbers lie in the CPU tensor `held`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> StrictTensor:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        tensor = Tensor._make_wrapper_subclass(cls, held.size(), device=torch.device(NAME, 0), **layout)
        tensor.held = held
        return tensor

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return f"strict {self.held!r}"

    def data_ptr(self) -> int:
        """Where the numbers lie: a device has an address for each of its tensors."""
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        strict = [leaf for leaf in leaves if isinstance(leaf, StrictTensor)]
        foreign = [leaf for leaf in leaves if not isinstance(leaf, StrictTensor) and leaf.dim()]
        if strict and foreign and operation not in MIXED:
            raise RuntimeError(f"Expected all tensors to be on the same device, but found {NAME} and cpu: {operation}")
        to_host = "device" in kwargs and torch.device(kwargs["device"] or NAME).type == "cpu"
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        result = operation(*tree_map(_on_host, args), **tree_map(_on_host, kwargs))
        if to_host:
            return result
        if strict and _is_in_place(operation):
            if args[0].shape != args[0].held.shape:
                _follow_shape(args[0])
            return args[0]
        return tree_map(lambda leaf: StrictTensor(leaf) if isinstance(leaf, Tensor) else leaf, result)


def _on_host(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, StrictTensor) else leaf


def _follow_shape(tensor: StrictTensor) -> None:
    """Gives the wrapper the shape of the tensor that it holds, after an operation such as `squeeze_`."""
    held = tensor.held
    with torch._C._DisableTorchDispatch():
        tensor.data = StrictTensor(held)
    tensor.held = held


def _is_in_place(operation: Any) -> bool:
    """Whether the operation writes into its first argument, by torch's naming: `add_` and the like."""
    return bool(operation.__name__.split(".")[0].endswith("_"))


def _factory(operation: Any) -> Callable[..., StrictTensor]:
    """An operation that makes a tensor from nothing, on the strict device."""

    def create(*args: Any, **kwargs: Any) -> StrictTensor:
        kwargs.pop("pin_memory", None)
        return StrictTensor(operation(*args, **{**kwargs, "device": "cpu"}))

    return create


def _to_copy(tensor: Tensor, **kwargs: Any) -> Tensor:
    """A copy on the device that is asked for: the way onto the strict device and back."""
    device = kwargs.pop("device", None)
    for word in ("non_blocking", "pin_memory"):
        kwargs.pop(word, None)
    copied = aten._to_copy.default(_on_host(tensor), **kwargs)
    return StrictTensor(copied) if device is not None and torch.device(device).type == NAME else copied


def _copy_(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    _on_host(target).copy_(_on_host(source))
    return target


LIBRARY = torch.library.Library("aten", "IMPL")  # registrations last as long as this object
LIBRARY.impl("empty.memory_format", _factory(aten.empty.memory_format), "PrivateUse1")
LIBRARY.impl("empty_strided", _factory(aten.empty_strided.default), "PrivateUse1")
for overload in ("default", "start", "start_step"):  # torch's own resizes its result, which a wrapper cannot follow
    LIBRARY.impl(f"arange.{overload}".removesuffix(".default"), _factory(getattr(aten.arange, overload)), "PrivateUse1")
LIBRARY.impl("_to_copy", _to_copy, "PrivateUse1")
LIBRARY.impl("copy_", _copy_, "PrivateUse1")
