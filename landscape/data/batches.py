"""A batch of samples: inputs and targets as trees of tensors, cut, placed and changed tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from math import gcd
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from landscape.data.trees import dense_parts, is_column, is_column_of_words, leaves, map_leaves, map_tensors


@dataclass(frozen=True)
class Batch:
    """Inputs (a tensor, or a tuple or dict of tensors) and targets, samples along axis 0.

    A dictionary of inputs holds a model's arguments by name. Inputs without targets are their own targets, as for
    models of sequences and autoencoders. `first` is the place of the batch's first sample in the whole data set.
    `unit` says why the batch is one unit, which counts as one sample and is never cut; "" if it holds samples.
    """

    inputs: Any
    targets: Any
    first: int = 0
    unit: str = ""

    @property
    def size(self) -> int:
        """The number of samples; 1 of a batch that is a unit."""
        return 1 if self.unit else len(next(leaves(self.inputs)))

    @property
    def divisible(self) -> bool:
        """Whether the batch holds samples along its tensors' first axes, and can be cut and joined."""
        return not self.unit

    @property
    def words(self) -> set[str]:
        """The names of the lists of words in a dictionary of inputs."""
        named = self.inputs.items() if isinstance(self.inputs, dict) else ()
        return {name for name, value in named if is_column_of_words(value)}

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that a model is called with: positional ones, and those by name.

        Lists of words in a dictionary, such as names of samples, are no arguments.
        """
        if isinstance(self.inputs, dict):
            return (), {name: value for name, value in self.inputs.items() if name not in self.words}
        several = isinstance(self.inputs, tuple) and not isinstance(self.inputs, PackedSequence)
        return (self.inputs if several else (self.inputs,)), {}

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor of its inputs and targets replaced by `change(tensor)`."""
        return replace(self, inputs=map_tensors(change, self.inputs), targets=map_tensors(change, self.targets))

    def split(self, size: int) -> Iterator[Batch]:
        """Consecutive parts of at most `size` samples, views of this batch."""
        yield from self.cut(range(self.first + size, self.first + self.size, size))

    def cut(self, places: Iterable[int]) -> Iterator[Batch]:
        """Consecutive parts that end before the ascending `places` in the whole data set, views of this batch."""
        size = self.size
        inside = (place - self.first for place in places if self.first < place < self.first + size)
        begin = 0
        for end in chain(inside, (size,)):
            if begin == 0 and end == size:
                yield self
                return
            yield replace(self._rows(slice(begin, end)), first=self.first + begin)
            begin = end

    def take(self, places: list[int]) -> Batch:
        """The samples at these places, as copies; a batch that is a unit as it is."""
        return self if self.unit else self._rows(places)

    def _rows(self, part: slice | list[int]) -> Batch:
        """The rows of every tensor, and of every list with one word or number for each row."""
        size = self.size

        def cut(leaf: Any) -> Any:
            """The rows of a leaf; what is the same for all rows stays."""
            if isinstance(leaf, list | tuple) and is_column(leaf) and len(leaf) == size:
                return leaf[part] if isinstance(part, slice) else type(leaf)(leaf[place] for place in part)
            return leaf[part] if isinstance(leaf, Tensor) or (is_column(leaf) and len(leaf) == size) else leaf

        return replace(self, inputs=map_leaves(cut, self.inputs), targets=map_leaves(cut, self.targets))


def uneven_size(size: int) -> int:
    """Where to cut a batch of `size` samples so that its parts tell whether samples depend on each other.

    About five eighths, and prime to `size`: halves could have equal shares of what a mean leaves out, and a loss of
    pairs or triplets of neighbors would be the same in parts that hold whole groups.
    """
    return next(part for part in range(max(1, 5 * size // 8), size + 1) if gcd(part, size) == 1 or part == size)


def to_device(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """The batch on the device, its floating tensors in `dtype`."""
    return batch.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))


def batch_tensors(batch: Batch) -> Iterator[Tensor]:
    """The tensors of inputs and targets, in the order of `leaves`."""
    yield from leaves((batch.inputs, batch.targets))


def batch_bytes(batch: Batch) -> int:
    """The memory that the tensors of a batch take."""
    return sum(part.nbytes for tensor in batch_tensors(batch) for part in dense_parts(tensor))


def tensors_in_map_order(batch: Batch) -> list[Tensor]:
    """The tensors of a batch in the order in which `Batch.map` visits them."""
    tensors: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        """Records the tensor, and leaves it as it is."""
        tensors.append(tensor)
        return tensor

    batch.map(keep)
    return tensors
