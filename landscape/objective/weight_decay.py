"""The penalty X/2 |theta|^2 of weight decay, as part of the loss."""

from __future__ import annotations

import hashlib
import math
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
        """The penalty on the parameters that the globs select, on all without globs; `!GLOB` leaves its matches out.

        Raises UsageError for a glob that matches nothing, for globs that leave nothing, and for a rate that is negative
        or not finite.
        """
        if not 0 <= rate < math.inf:
            raise UsageError(
                f"--weight-decay {rate:g} is no rate", fix="a finite number >= 0, e.g. --weight-decay 5e-4"
            )
        if globs and not rate:
            raise UsageError("--decay-params without --weight-decay decays nothing", fix="--weight-decay 5e-4")
        left_out = tuple(glob.removeprefix("!") for glob in globs if glob.startswith("!"))
        chosen = tuple(glob for glob in globs if not glob.startswith("!")) or ("*",)
        names = space.names_matching(chosen, "--decay-params") - space.names_matching(left_out, "--decay-params")
        if not names:
            raise UsageError(
                "--decay-params leaves no parameter that decays", fix="fewer globs with !, or leave --weight-decay out"
            )
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
        """The rate, and which parameters where not all decay, for fingerprints: other names give another text."""
        if self.covers_all:
            return repr(self.rate)
        names = hashlib.sha256("\n".join(sorted(self.names)).encode()).hexdigest()[:8]
        return f"{self.rate!r} on {len(self.names)} of {len(self.space.names)} ({names})"
