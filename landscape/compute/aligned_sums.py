"""Sums of the parts of a data set in one order, on however many processes the parts are computed.

The data are cut into a power of two of equal shares by position. Within a share parts are added one after another;
shares are added in aligned pairs, pairs of pairs, and so on: a binary tree. Two processes hold the two halves of the
tree, four its quarters. Since a + b is b + a to the last bit, all of them get the bits that one process gets.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from landscape.compute.budget import is_large

Parts = tuple[Tensor, ...]
SHARES = 8  # of the data: the bits are the same on 1, 2, 4 and 8 processes
SHARES_OF_LARGE_MODELS = 4  # each level of the tree holds another sum while it is made


def share_count(parameters: int, processes: int = 1) -> int:
    """The shares of the data of a model with so many parameters; at least one for each process."""
    shares = SHARES_OF_LARGE_MODELS if is_large(parameters) else SHARES
    while shares < processes:
        shares *= 2
    return shares


def share_of(position: int, samples: int, shares: int) -> int:
    """The share in which the part of the data that begins at a position lies."""
    return min(position * shares // max(samples, 1), shares - 1)


class _Node(NamedTuple):
    """A finished part of the tree: the `place`-th of those that are made of 2^`level` shares."""

    level: int
    place: int
    sums: Parts


class AlignedSums:
    """Adds up tuples of tensors, given share by share in ascending order; the tensors become its own."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._share = -1
        self._running: Parts | None = None

    def add(self, share: int, parts: Parts) -> None:
        """Adds the sums of one part of a share."""
        if share != self._share:
            self._close(share)
            self._share = share
        if self._running is None:
            self._running = _own(parts)
        else:
            self._running = tuple(total.add_(part) for total, part in zip(self._running, parts, strict=True))

    def total(self) -> Parts | None:
        """The sum of everything; None if nothing was added."""
        self._close(None)
        while len(self._nodes) > 1:
            last = self._nodes.pop()
            before = self._nodes.pop()
            self._nodes.append(_Node(before.level, before.place, _sum(before.sums, last.sums)))
        return self._nodes.pop().sums if self._nodes else None

    def _close(self, following: int | None) -> None:
        """Makes the running share a node, and joins the nodes to which no later share can belong."""
        if self._running is not None:
            self._nodes.append(_Node(0, self._share, self._running))
            self._running = None
        while self._nodes and following is not None:
            level, place, sums = self._nodes[-1]
            if following >> (level + 1) == place >> 1:  # its other half is still to come, at least in part
                return
            self._nodes.pop()
            if self._nodes and self._nodes[-1].level == level and self._nodes[-1].place == place - 1 and place % 2:
                sums = _sum(self._nodes.pop().sums, sums)
            self._nodes.append(_Node(level + 1, place >> 1, sums))


def _sum(one: Parts, other: Parts) -> Parts:
    return tuple(total.add_(part) for total, part in zip(one, other, strict=True))


def _own(parts: Parts) -> Parts:
    """The tensors, copied where several entries share a place in memory: a sum in place needs one for each."""
    return tuple(part.clone() if 0 in part.stride() else part for part in parts)
