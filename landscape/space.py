"""The flat parameter vector and the named tensors that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod

import torch
from torch import Tensor

from landscape.errors import UsageError, listing, nearest


@dataclass(frozen=True)
class Block:
    """One named tensor inside the flat vector."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class ParameterSpace:
    """The order in which named tensors make one vector theta `(P,)`."""

    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> ParameterSpace:
        return cls(tuple(Block(name, tuple(tensor.shape)) for name, tensor in tensors.items()))

    @property
    def size(self) -> int:
        """P, the number of coordinates."""
        return sum(block.size for block in self.blocks)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(block.name for block in self.blocks)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """One vector `(P,)` from the named tensors, in the order of the blocks."""
        return torch.cat([tensors[block.name].reshape(-1) for block in self.blocks])

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Views into theta `(P,)` by name; gradients flow back through one concatenation."""
        parts = torch.split(theta, [block.size for block in self.blocks])
        return {block.name: part.view(block.shape) for block, part in zip(self.blocks, parts, strict=True)}

    def select(self, globs: Iterable[str]) -> ParameterSpace:
        """The blocks whose name matches any of the globs (`*.weight`), all of them if there are none.

        Raises UsageError for a glob that matches nothing.
        """
        wanted = tuple(globs)
        for glob in wanted:
            if not any(fnmatchcase(name, glob) for name in self.names):
                raise UsageError(
                    f"no trainable parameter matches --params {nearest(glob, self.names)}",
                    fix=f"a glob over the names: {listing(self.names)}",
                )
        matches = (b for b in self.blocks if not wanted or any(fnmatchcase(b.name, glob) for glob in wanted))
        return ParameterSpace(tuple(matches))
