"""The steps of a pass over the data in which every rank takes a micro-batch, and sums of what the steps give.

Micro-batches are dealt out in turn, in groups of as many as there are pieces: a rank of four takes one of a group, one
of two takes two, one alone takes all. The sums over the ranks of a step are the lower levels of a tree whose upper
levels are added step by step, so that the bits are the same on 1, 2 and 4 ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from torch import Tensor

from landscape.compute.shards import Shards
from landscape.data.batches import Batch
from landscape.network.gathered_units import Key
from landscape.network.units import Unit


class PassStep(NamedTuple):
    """A step: this rank's micro-batch, which ranks have one of their own, and whether it is the last of its group.

    A rank without one goes through another's, so that it makes the same calls; what it gives does not count.
    """

    batch: Batch
    having: tuple[bool, ...]
    ends_group: bool


def steps(batches: Iterable[Batch], shards: Shards) -> Iterator[PassStep]:
    """The steps of a pass over the micro-batches, the same number on every rank."""
    each, size, rank = iter(batches), shards.ranks.size, shards.ranks.rank
    while group := list(islice(each, shards.pieces)):
        for first in range(0, len(group), size):
            having = tuple(first + other < len(group) for other in range(size))
            batch = group[min(first + rank, len(group) - 1)]
            yield PassStep(batch, having, first + size >= len(group))


class PartSums:
    """Sums of what units add to vectors of parameters: the parts that this rank holds.

    Within a group of micro-batches what comes from different places of the model is added up apart, since ranks and
    steps would else be added in different orders.
    """

    def __init__(self, shards: Shards, units: Iterable[Unit], like: Tensor) -> None:
        self._shards = shards
        self._units = {unit.number: unit for unit in units}
        self._total = like.new_empty(shards.length)  # its memory is touched as sums come into it, and theirs is freed
        self._begun: set[int] = set()
        self._nodes: dict[Key, list[tuple[int, Tensor]]] = {}

    def take(self, key: Key, part: Tensor) -> None:
        """Adds a part of a step to those of the steps before, in aligned pairs."""
        nodes, level = self._nodes.setdefault(key, []), 0
        while nodes and nodes[-1][0] == level:
            part = nodes.pop()[1].add_(part)
            level += 1
        nodes.append((level, part))

    def end_group(self) -> None:
        """Adds the group's sums to the total, place by place."""
        for key in sorted(self._nodes):
            nodes = self._nodes.pop(key)
            part = nodes.pop()[1]
            while nodes:
                part = nodes.pop()[1].add_(part)
            begin = 0
            for index in self._units[key[0]].measured.values():
                width = self._shards.widths[index]
                self._add(index, part[:, begin : begin + width])
                begin += width

    def total(self) -> Tensor:
        """The sums, 0 where no unit added anything."""
        for index in range(len(self._shards.sizes)):
            if index not in self._begun:
                self._shards.part(self._total, index).zero_()
        return self._total

    def _add(self, index: int, part: Tensor) -> None:
        """Adds a part of one tensor to the total."""
        own = self._shards.part(self._total, index)
        if index in self._begun:
            own.add_(part)
        else:
            own.copy_(part)
            self._begun.add(index)
