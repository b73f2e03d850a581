"""Tensors of a module that share memory without being one parameter: they move together, and copies would not."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor


def overlapping(tensors: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """The pairs of names whose tensors have bytes in common."""
    spans = sorted(
        (tensor.untyped_storage().data_ptr(), *_span(tensor), name)
        for name, tensor in tensors.items()
        if tensor.numel() and tensor.device.type != "meta"
    )
    return [(one[3], other[3]) for one, other in pairwise(spans) if one[0] == other[0] and other[1] < one[2]]


def _span(tensor: Tensor) -> tuple[int, int]:
    """The first byte of a tensor in its storage, and the one after its last."""
    begin = int(tensor.storage_offset()) * tensor.itemsize
    reach = sum((size - 1) * abs(stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return begin, begin + (reach + 1) * tensor.itemsize
