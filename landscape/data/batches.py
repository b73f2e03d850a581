"""A batch of samples: inputs and targets as trees of tensors, cut, placed and changed tensor by tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Inputs (a tensor, or a tuple or dict of tensors) and targets, samples along axis 0.

    A dictionary of inputs holds a model's arguments by name. Inputs without targets are their own targets, as for
    models of sequences and autoencoders. `first` is the place of the batch's first sample in the whole data set.
    """

    inputs: Any
    targets: Any
    first: int = 0

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(next(leaves(self.inputs)))

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that a model is called with: positional ones, and those by name."""
        if isinstance(self.inputs, dict):
            return (), self.inputs
        return (self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)), {}

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor of its inputs and targets replaced by `change(tensor)`."""
        return replace(self, inputs=map_tensors(change, self.inputs), targets=map_tensors(change, self.targets))

    def split(self, size: int) -> Iterator[Batch]:
        """Consecutive parts of at most `size` samples, views of this batch."""
        yield from self.cut(range(self.first + size, self.first + self.size, size))

    def cut(self, places: Iterable[int]) -> Iterator[Batch]:
        """Consecutive parts that end before the ascending `places` in the whole data set, views of this batch."""
        inside = [place - self.first for place in places if self.first < place < self.first + self.size]
        if not inside:
            yield self
            return
        for begin, end in pairwise([0, *inside, self.size]):
            piece = self.map(lambda tensor, part=slice(begin, end): tensor[part])  # type: ignore[misc]
            yield replace(piece, first=self.first + begin)


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch on the device, its floating tensors in `dtype`."""
    return batch.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))


def leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tensor, tuple, list or dict, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        for key in sorted(tree, key=str):
            yield from leaves(tree[key])


def batch_tensors(batch: Batch) -> Iterator[Tensor]:
    """The tensors of inputs and targets, in the order of `leaves`."""
    yield from leaves((batch.inputs, batch.targets))


def map_tensors(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The tree of tuples and dicts with every tensor replaced by `change(tensor)`; lists become tuples."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple | list):
        parts = [map_tensors(change, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, dict):
        changed = copy.copy(tree)  # a subclass of dict stays that class
        for key, part in tree.items():
            changed[key] = map_tensors(change, part)
        return changed
    return tree


def tensors_in_map_order(batch: Batch) -> list[Tensor]:
    """The tensors of a batch in the order in which `Batch.map` visits them."""
    tensors: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        """Records the tensor, and leaves it as it is."""
        tensors.append(tensor)
        return tensor

    batch.map(keep)
    return tensors
