"""The flat parameter vector and the named tensors that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from types import MappingProxyType

import torch
from torch import Tensor

from landscape.errors import UsageError, listing, suggest
from landscape.network.filters import FilterAxis, filter_norms


@dataclass(frozen=True)
class ParameterBlock:
    """One named tensor inside the flat vector, and the axis of its filters."""

    name: str
    shape: tuple[int, ...]
    filters: FilterAxis = FilterAxis()

    @property
    def size(self) -> int:
        """The number of entries."""
        return prod(self.shape)


@dataclass(frozen=True)
class ParameterGroup:
    """Tensors that are treated together: the group's name, their names, and their ranges in the flat vector."""

    name: str
    names: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]  # begin and end of each contiguous piece, ascending

    @property
    def size(self) -> int:
        """The number of coordinates of the group."""
        return sum(end - begin for begin, end in self.ranges)

    def of(self, tensor: Tensor) -> list[Tensor]:
        """Views of the group's ranges along the last axis of a tensor `(..., P)`."""
        return [tensor[..., begin:end] for begin, end in self.ranges]


@dataclass(frozen=True)
class ParameterSpace:
    """The order in which named tensors make one vector theta `(P,)`."""

    blocks: tuple[ParameterBlock, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], axes: Mapping[str, FilterAxis] = MappingProxyType({})) -> ParameterSpace:
        """The space of named tensors; `axes` holds, by name, the filter axes that are not axis 0."""
        return cls(
            tuple(ParameterBlock(n, tuple(tensor.shape), axes.get(n, FilterAxis())) for n, tensor in tensors.items())
        )

    @property
    def size(self) -> int:
        """P, the number of coordinates."""
        return sum(block.size for block in self.blocks)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors, in the order of the vector."""
        return tuple(block.name for block in self.blocks)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """One vector `(P,)` from the named tensors, in the order of the blocks."""
        return torch.cat([tensors[block.name].reshape(-1) for block in self.blocks])

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Views into theta `(P,)` by name; gradients flow back through one concatenation."""
        parts = torch.split(theta, [block.size for block in self.blocks])
        return {block.name: part.view(block.shape) for block, part in zip(self.blocks, parts, strict=True)}

    def leaves(self, theta: Tensor) -> dict[str, Tensor]:
        """Views into theta `(P,)` by name that are leaves of an autograd graph, with gradients of their own."""
        return {name: view.detach().requires_grad_() for name, view in self.unflatten(theta.detach()).items()}

    def filter_norms(self, theta: Tensor) -> Tensor:
        """The norm of the filter that each coordinate belongs to, `(P,)`; |theta| in vectors, which have no filters."""
        named = self.unflatten(theta)
        return self.flatten({block.name: filter_norms(named[block.name], block.filters) for block in self.blocks})

    def mask(self, globs: Iterable[str], flag: str) -> Tensor:
        """The mask `(P,)` of the coordinates whose parameter's name matches any glob, as in `names_matching`."""
        selected = self.names_matching(globs, flag)
        return torch.cat([torch.full((block.size,), block.name in selected) for block in self.blocks])

    def names_matching(self, globs: Iterable[str], flag: str) -> set[str]:
        """The names that match a glob; `!GLOB` is every name that does not.

        Raises UsageError, which names the `flag`, for a glob that matches nothing.
        """
        selected: set[str] = set()
        for glob in globs:
            matches = {name for name in self.names if fnmatchcase(name, glob.removeprefix("!")) != glob.startswith("!")}
            if not matches and not glob.startswith("!"):
                raise self._no_match(glob, flag)
            selected |= matches
        return selected

    def _no_match(self, glob: str, flag: str) -> UsageError:
        return UsageError(
            f"no trainable parameter matches {flag} {suggest(glob, self.names)}",
            fix=f"a glob over the names: {listing(self.names)}",
        )

    def whole_group(self) -> ParameterGroup:
        """All tensors as one group."""
        return ParameterGroup("all", self.names, ((0, self.size),))

    def layers(self, names: Container[str] | None = None) -> tuple[ParameterGroup, ...]:
        """One group for each module that owns parameters, called by the module's path in the model.

        With `names` the groups hold these parameters alone, and modules that own none of them have no group.
        """
        chosen = dict.fromkeys(name for name in self.names if names is None or name in names)
        owners = dict.fromkeys(map(_owner, chosen))
        groups = (
            self._group(owner or "(model)", lambda n, own=owner: n in chosen and _owner(n) == own)  # type: ignore[misc]
            for owner in owners
        )
        return tuple(group for group in groups if group.size)

    def groups_matching(self, globs: Iterable[str]) -> tuple[ParameterGroup, ...]:
        """One group for each glob over parameter or module names.

        Raises UsageError for a glob that matches nothing, and for two groups with a common parameter.
        """
        groups = []
        for glob in globs:
            group = self._group(glob, lambda n, glob=glob: fnmatchcase(n, glob) or fnmatchcase(_owner(n), glob))  # type: ignore[misc]
            if not group.size:
                raise self._no_match(glob, "--blocks")
            groups.append(group)
        names = [name for group in groups for name in group.names]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UsageError(f"two --blocks hold {listing(repeated)}", fix="globs without common parameters")
        return tuple(groups)

    def _group(self, name: str, belongs: Callable[[str], bool]) -> ParameterGroup:
        """The group of the blocks whose names belong to it; adjacent blocks are one range."""
        ranges: list[tuple[int, int]] = []
        place = 0
        for block in self.blocks:
            if belongs(block.name) and block.size:
                adjacent = bool(ranges) and ranges[-1][1] == place
                begin = ranges.pop()[0] if adjacent else place
                ranges.append((begin, place + block.size))
            place += block.size
        return ParameterGroup(name, tuple(b.name for b in self.blocks if belongs(b.name)), tuple(ranges))

    def select(self, globs: Iterable[str]) -> ParameterSpace:
        """The blocks whose name matches any of the globs (`*.weight`); all blocks if there are no globs.

        Raises UsageError for a glob that matches nothing.
        """
        patterns = tuple(globs)
        for glob in patterns:
            if not any(fnmatchcase(name, glob) for name in self.names):
                raise self._no_match(glob, "--params")
        matches = (b for b in self.blocks if not patterns or any(fnmatchcase(b.name, glob) for glob in patterns))
        return ParameterSpace(tuple(matches))


def _owner(name: str) -> str:
    """The module that owns a parameter; a parametrized one (weight_norm) belongs to the module that uses it."""
    path, parametrized, _ = f".{name}".partition(".parametrizations.")
    return path.removeprefix(".") if parametrized else name.rpartition(".")[0]
