"""Tensors as a file describes them: views of storages, checked before any memory is taken for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

ITEMSIZE = {
    **dict.fromkeys(("bool", "uint8", "int8", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("float8_e8m0fnu",), 1),
    **dict.fromkeys(("uint16", "int16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("uint32", "int32", "float32"), 4),
    **dict.fromkeys(("uint64", "int64", "float64", "complex64"), 8),
    "complex128": 16,
    "complex32": 4,
    "float4_e2m1fn_x2": 1,
}  # bytes by torch's name of the dtype
MAX_DIMENSIONS = 64  # of a torch tensor


class DamageError(Exception):
    """A description that contradicts itself, or bytes that are no description."""


class LargeDescriptionError(DamageError):
    """A description that takes more memory than is allowed to a file of this size, whether or not it is whole."""


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """The bytes behind tensors: the key under which the file keeps them, their dtype and how many items there are."""

    key: str
    dtype: str
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * ITEMSIZE[self.dtype]


@dataclass(frozen=True, eq=False, slots=True)
class TensorRef:
    """A tensor as described: a strided view, in items of `dtype`, of a storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.count * ITEMSIZE[self.dtype]


@dataclass(frozen=True, eq=False, slots=True)
class ArrayRef(TensorRef):
    """A NumPy array as described: weights only where a file has no tensors of torch."""


@dataclass(frozen=True, eq=False, slots=True)
class OddTensor:
    """A tensor that is not a plain array of numbers: sparse, quantized, ..."""

    kind: str


def are_counts(*values: Any) -> bool:
    """Whether all values are whole numbers from 0 to 2^63 - 1."""
    return all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def contiguous_strides(shape: Sequence[int], *, fortran: bool = False) -> tuple[int, ...]:
    """The strides of a contiguous tensor, in items: the last index moves fastest, or the first in Fortran's order."""
    strides, count = [], 1
    for size in shape if fortran else reversed(shape):
        strides.append(count)
        count *= size
    return tuple(strides if fortran else reversed(strides))


def view_ref(storage: Any, dtype: str, offset: Any, shape: Any, stride: Any) -> TensorRef:
    """The view, if it lies inside its storage and has no more items than it; raises DamageError otherwise."""
    if not isinstance(storage, Storage) or storage.nbytes % ITEMSIZE.get(dtype, 1 << 63):
        raise DamageError("a tensor whose storage is none, or is not made of its items")
    tuples = isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= MAX_DIMENSIONS
    if not (tuples and are_counts(offset, *shape, *stride) and are_counts(prod(max(size, 1) for size in shape))):
        raise DamageError("a tensor whose sizes are no counts")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    items = storage.nbytes // ITEMSIZE[dtype]
    if 0 in stride and prod(shape) > items:
        raise DamageError(f"an expanded tensor of shape {shape}, larger than its storage: save it with .contiguous()")
    if prod(shape) > items or (prod(shape) and last >= items):
        raise DamageError(f"a tensor of shape {shape} with strides {stride} in a storage of {items} items")
    return TensorRef(storage, dtype, offset, shape, stride)
