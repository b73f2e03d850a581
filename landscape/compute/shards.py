"""Vectors of parameters of which every rank holds a part: where each tensor lies, and sums over whole vectors.

The tensors of a model are cut into the same number of pieces each, padded with zeros. Piece by piece they are put
behind each other, so that a vector is a matrix of pieces, and a rank holds consecutive rows of it. What is computed by
piece has the same bits on however many ranks: four pieces are one rank's, or two ranks', or four ranks'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from landscape.compute.ranks import ALONE, Ranks

SPAN = 1 << 17  # coordinates of a piece that are multiplied together
PIECES = 4  # of every tensor: the bits are the same on 1, 2 and 4 ranks


@dataclass(frozen=True)
class Shards:
    """Tensors with `sizes` entries as one vector whose pieces lie on the `ranks`, in their order."""

    sizes: tuple[int, ...]
    ranks: Ranks = ALONE

    @cached_property
    def pieces(self) -> int:
        """The pieces of a vector, of which each rank has as many."""
        return PIECES if PIECES % self.ranks.size == 0 else self.ranks.size

    @property
    def held(self) -> int:
        """The pieces of this rank."""
        return self.pieces // self.ranks.size

    @property
    def first(self) -> int:
        """The first piece of this rank."""
        return self.held * self.ranks.rank

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """The entries of each tensor in a piece."""
        return tuple(-(-size // self.pieces) for size in self.sizes)

    @cached_property
    def begins(self) -> tuple[int, ...]:
        """Where each tensor begins in a piece."""
        return tuple(accumulate(self.widths, initial=0))[:-1]

    @cached_property
    def width(self) -> int:
        """The entries of a piece."""
        return sum(self.widths)

    @property
    def length(self) -> int:
        """The numbers of a vector that this rank holds, padding included."""
        return self.held * self.width

    @cached_property
    def size(self) -> int:
        """The numbers of a whole vector, P."""
        return sum(self.sizes)

    def rows(self, vector: Tensor) -> list[Tensor]:
        """Views of the pieces of vectors `(..., length)` that are held here."""
        return list(torch.split(vector, self.width, dim=-1))

    def part(self, vector: Tensor, index: int) -> Tensor:
        """A view of one tensor's pieces that are held here, `(held, width)`."""
        begin = self.begins[index]
        return vector.view(self.held, self.width)[:, begin : begin + self.widths[index]]

    def put(self, vector: Tensor, index: int, tensor: Tensor) -> None:
        """Copies what is held here of a whole tensor into a vector, whose padding is 0."""
        flat, width = tensor.reshape(-1), self.widths[index]
        for piece, row in enumerate(self.part(vector, index), start=self.first):
            own = flat[piece * width : (piece + 1) * width]
            row[: len(own)].copy_(own)
            row[len(own) :].zero_()

    def put_range(self, vector: Tensor, first: int, numbers: Tensor) -> None:
        """Copies what is held here of consecutive coordinates of a whole vector, from number `first` on."""
        place, end = 0, first + len(numbers)
        for index, size in enumerate(self.sizes):
            low, high = max(first, place), min(end, place + size)
            if low < high:
                self.put_run(vector, index, low - place, numbers[low - first : high - first])
            place += size

    def put_run(self, vector: Tensor, index: int, first: int, numbers: Tensor) -> None:
        """Copies what is held here of consecutive entries of one tensor."""
        width, end = self.widths[index], first + len(numbers)
        for piece, row in enumerate(self.part(vector, index), start=self.first):
            low, high = max(first, piece * width), min(end, (piece + 1) * width)
            if low < high:
                row[low - piece * width : high - piece * width].copy_(numbers[low - first : high - first])

    # -- whole tensors and sums over ranks -----------------------------------------------------------------------

    def gather(
        self, vector: Tensor, indices: Sequence[int], label: int = 0, device: torch.device | None = None
    ) -> list[Tensor]:
        """Whole tensors, flat, from the pieces that all ranks hold, on a device: by default where the vector lies.

        `label` says for what they are, and must be the same on all ranks.
        """
        widths = [self.widths[index] for index in indices]
        message = torch.cat([self.part(vector, index) for index in indices], dim=1).to(device or vector.device)
        whole = self.ranks.collect(message, label)
        begins = accumulate(widths, initial=0)
        return [
            whole[:, begin : begin + width].reshape(-1)[: self.sizes[index]]
            for index, begin, width in zip(indices, begins, widths, strict=False)
        ]

    def scatter(
        self, tensors: Sequence[Tensor], indices: Sequence[int], having: Sequence[bool], label: int = 0
    ) -> Tensor:
        """The sums over the ranks that have something of whole tensors: what is held here, `(held, their widths)`.

        They are added in aligned pairs of ranks. `label` says for what, and must be the same.
        """
        widths = [self.widths[index] for index in indices]
        message = tensors[0].new_zeros((self.pieces, sum(widths)))
        for tensor, width, begin in zip(tensors, widths, accumulate(widths, initial=0), strict=False):
            flat = tensor.reshape(-1)
            whole = len(flat) // width if width else 0
            message[:whole, begin : begin + width] = flat[: whole * width].view(whole, width)
            if rest := len(flat) - whole * width:
                message[whole, begin : begin + rest] = flat[whole * width :]
        received = self.ranks.swap(message.view(self.ranks.size, -1), label)
        parts = [row if has else None for row, has in zip(received, having, strict=True)]
        total = add_in_pairs(parts)
        assert total is not None  # a step in which no rank has data is not made
        # a copy, or what lies here would keep the memory of what came for it from all ranks
        return (total.clone() if self.ranks.size > 1 else total).view(self.held, -1)

    def total(self, by_piece: Tensor) -> Tensor:
        """The sum of numbers that every piece has, `(held, ...)`, over all pieces of all ranks, in their order."""
        every = self.ranks.gather(by_piece.cpu(), "a sum over the coordinates")
        total: Tensor = torch.cat(every).to(by_piece.device).sum(dim=0)
        return total


def add_in_pairs(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The sum in pairs of neighbours, pairs of pairs, and so on; some have nothing. The tensors may be changed."""
    level = list(parts)
    while len(level) > 1:
        level = [*level, *([None] if len(level) % 2 else [])]
        level = [_add(one, other) for one, other in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def _add(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one.add_(other)


_IN_FORCE: list[Shards] = []


@contextmanager
def in_force(shards: Shards) -> Iterator[None]:
    """The block in which vectors as long as those of `shards` are parts of whole ones."""
    _IN_FORCE.append(shards)
    try:
        yield
    finally:
        _IN_FORCE.pop()


def of_length(length: int) -> Shards | None:
    """The shards that vectors of this length are parts in; None if they are whole."""
    if _IN_FORCE and _IN_FORCE[-1].length == length:
        return _IN_FORCE[-1]
    return None


def of_size(size: int) -> Shards | None:
    """The shards that vectors of so many coordinates are held in; None if they are whole."""
    return _IN_FORCE[-1] if _IN_FORCE and _IN_FORCE[-1].size == size else None


def length_here(size: int) -> int:
    """How many numbers this rank holds of vectors of so many coordinates."""
    shards = of_size(size)
    return size if shards is None else shards.length


def whole_length(length: int) -> int:
    """How many coordinates the whole vectors have, of which so many numbers are held here."""
    shards = of_length(length)
    return length if shards is None else shards.size


def by_span(work: Callable[..., Tensor | None], *vectors: Tensor, writes: bool = False) -> Tensor | None:
    """Makes `work` of vectors `(..., P)`: at once where they are whole, else of one span of a piece after the other.

    Products of matrices have other last bits where they begin at another place in memory, or their rows lie further
    apart: spans are copies. With `writes` the first vectors are what the work changes, and are copied back. Returns the
    sum of what the work returns over all spans of all ranks, in float64; what it returns of whole vectors as it is.
    """
    shards = of_length(vectors[0].shape[-1])
    if shards is None:
        return work(*vectors)
    sums = []
    for pieces in zip(*map(shards.rows, vectors), strict=True):
        found = []
        for views in zip(*(torch.split(piece, SPAN, dim=-1) for piece in pieces), strict=True):
            copies = [view.clone(memory_format=torch.contiguous_format) for view in views]
            if (part := work(*copies)) is not None:
                found.append(part.double())
            if writes:
                views[0].copy_(copies[0])
        if found:
            sums.append(sum(found[1:], found[0]))
    return shards.total(torch.stack(sums)) if sums else None


def sum_by_piece(by_piece: Callable[..., Tensor], *vectors: Tensor) -> Tensor:
    """A sum over the coordinates along the last axis of tensors `(..., P)`: of each piece where they are parts."""
    shards = of_length(vectors[0].shape[-1])
    if shards is None:
        return by_piece(*vectors)
    rows = [shards.rows(vector) for vector in vectors]
    return shards.total(torch.stack([by_piece(*pieces) for pieces in zip(*rows, strict=True)]))
