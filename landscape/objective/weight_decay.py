"""The penalty X/2 |theta|^2 of weight decay, as part of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from landscape.errors import UsageError
from landscape.network.space import ParameterSpace


@dataclass(frozen=True)
class WeightDecay:
    """The penalty rate/2 times the sum of squares of the parameters called `names`; 0 with a rate of 0."""

    rate: float
    names: frozenset[str]
    space: ParameterSpace

    @classmethod
    def on(cls, space: ParameterSpace, rate: float, globs: tuple[str, ...] = ()) -> WeightDecay:
        """The penalty on the parameters that the globs select, on all without globs; raises UsageError for none."""
        if globs and not rate:
            raise UsageError("--decay-params without --weight-decay decays nothing", fix="--weight-decay 5e-4")
        names = space.names_matching(globs, "--decay-params") if globs else space.names
        return cls(rate, frozenset(names), space)

    def __bool__(self) -> bool:
        return self.rate != 0

    @property
    def covers_all(self) -> bool:
        """Whether every parameter decays."""
        return len(self.names) == len(self.space.names)

    @cached_property
    def diagonal(self) -> Tensor:
        """The diagonal of the penalty's Hessian, `(P,)`, float64 on the CPU: the rate where a parameter decays."""
        rates = [self.rate * (block.name in self.names) for block in self.space.blocks]
        sizes = torch.tensor([block.size for block in self.space.blocks])
        return torch.tensor(rates, dtype=torch.float64).repeat_interleave(sizes)

    def penalty(self, theta: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The penalty at theta, one vector `(P,)` or tensors by name, shape ()."""
        if isinstance(theta, Tensor) and self.covers_all:
            return 0.5 * self.rate * theta.square().sum()
        named = self.space.unflatten(theta) if isinstance(theta, Tensor) else theta
        squares = [named[name].square().sum() for name in self.space.names if name in self.names]
        return 0.5 * self.rate * torch.stack(squares).sum()

    def product(self, block: Tensor) -> Tensor:
        """The product of the penalty's Hessian with a block of columns `(P, K)`."""
        if self.covers_all:
            return self.rate * block
        return self.diagonal.to(block)[:, None] * block

    def describe(self) -> str:
        """The rate, and the parameters where not all decay, for titles and fingerprints."""
        return f"{self.rate:g}" + ("" if self.covers_all else f" on {len(self.names)} of {len(self.space.names)}")
