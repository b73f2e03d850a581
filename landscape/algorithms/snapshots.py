"""Snapshots of states: a frozen dataclass as named arrays, and back.

A state declares in the metadata of its fields how they are stored; numbers and NumPy arrays need no declaration:

    values: np.ndarray                                           # as it is
    points: Tensor = field(metadata=TENSOR)                      # whole; None is left out
    basis: Tensor = field(metadata=buffer("used"))               # the entries in use
    probes: Tensor = field(metadata=RECOMPUTED)                  # not at all: `restore` is given the tensor
    run: RunState | None = field(metadata=nested(RunState))      # as `run.NAME`; None is left out

A snapshot shares memory with tensors on the CPU, which later steps may rewrite: save it before the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

StateT = TypeVar("StateT")
Allocate = Callable[[tuple[int, ...], Tensor], Tensor]  # an empty tensor of that shape, in the other tensor's dtype


@dataclass(frozen=True)
class _Buffer:
    used: str
    axis: int


@dataclass(frozen=True)
class _Nested:
    kind: type


Metadata = Mapping[str, Any]
NUMBERS = {"int": "iu", "float": "fiu", "bool": "b"}  # NumPy's kinds of the numbers that a field declares
TENSOR: Metadata = {"snapshot": "tensor"}  # a tensor or None
RECOMPUTED: Metadata = {"snapshot": "recomputed"}  # not stored, because it follows from a seed


def buffer(used: str, *, axis: int = 0) -> Metadata:
    """A large preallocated tensor; the state's attribute `used` counts the entries along `axis` that hold something."""
    return {"snapshot": _Buffer(used, axis)}


def nested(kind: type) -> Metadata:
    """Another state of class `kind`, or None."""
    return {"snapshot": _Nested(kind)}


def snapshot(state: Any) -> dict[str, np.ndarray]:
    """The arrays from which `restore` builds an equal state."""
    arrays: dict[str, np.ndarray] = {}
    for part in fields(state):
        value, storage = getattr(state, part.name), part.metadata.get("snapshot")
        if storage == "recomputed" or value is None:
            continue
        if isinstance(storage, _Nested):
            arrays |= {f"{part.name}.{name}": inner for name, inner in snapshot(value).items()}
        elif isinstance(storage, _Buffer):
            arrays[part.name] = value.narrow(storage.axis, 0, getattr(state, storage.used)).cpu().numpy()
            arrays[f"{part.name}.shape"] = np.asarray(value.shape)
        elif storage == "tensor":
            arrays[part.name] = value.cpu().numpy()
        else:
            arrays[part.name] = np.array(value)
    return arrays


def restore(
    kind: type[StateT],
    arrays: Mapping[str, np.ndarray],
    like: Tensor,
    *,
    allocate: Allocate | None = None,
    **computed: Any,
) -> StateT:
    """The state of class `kind` that `snapshot` stored, its tensors on the device and in the dtype of `like`.

    `allocate` provides the memory of buffers, by default beside `like`. `computed` gives the recomputed fields. Raises
    KeyError if an array is missing, and ValueError for one that such a state cannot hold.
    """
    values: dict[str, Any] = dict(computed)
    for part in fields(kind):  # type: ignore[arg-type]
        storage = part.metadata.get("snapshot")
        if storage == "recomputed":
            continue
        if isinstance(storage, _Nested):
            inner = _under(part.name, arrays)
            values[part.name] = restore(storage.kind, inner, like) if inner else None
        elif isinstance(storage, _Buffer):
            values[part.name] = _fill_buffer(part.name, storage, arrays, like, allocate or _beside)
        elif storage == "tensor":
            values[part.name] = _on(like, arrays[part.name]) if part.name in arrays else None
        else:
            value = _require_kind(part.name, str(part.type), arrays[part.name])
            values[part.name] = value.item() if value.ndim == 0 else value.copy()
    return kind(**values)


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


def _fill_buffer(
    name: str, storage: _Buffer, arrays: Mapping[str, np.ndarray], like: Tensor, allocate: Allocate
) -> Tensor:
    """A buffer of the stored shape whose first entries are the stored ones."""
    rows = torch.from_numpy(arrays[name])
    shape = tuple(int(length) for length in arrays[f"{name}.shape"])
    others = [axis for axis in range(rows.ndim) if axis != storage.axis]
    fits = len(shape) == rows.ndim and all(rows.shape[axis] == shape[axis] for axis in others)
    if not fits or not rows.is_floating_point():
        raise ValueError(f"{name} has shape {tuple(rows.shape)} in a buffer of shape {shape}")
    whole = allocate(shape, like)
    whole.narrow(storage.axis, 0, rows.shape[storage.axis]).copy_(rows)
    return whole


def _require_kind(name: str, kind: str, value: np.ndarray) -> np.ndarray:
    """The array, which must be one number of the declared kind, or have axes; counts are not negative."""
    kinds = NUMBERS.get(kind)
    fits = value.ndim > 0 if kinds is None else value.ndim == 0 and value.dtype.kind in kinds
    if not fits or (kind == "int" and value < 0):
        raise ValueError(f"{name} of shape {value.shape} and type {value.dtype} is no {kind}")
    return value


def _on(like: Tensor, values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.copy()).to(like)


def _beside(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device)
