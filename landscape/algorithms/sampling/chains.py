"""Markov chains of displacements x with exp(-U) as their distribution, U = Phi(x) + gamma |x|^2 / 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.snapshots import TENSOR


@dataclass(frozen=True)
class Evaluation:
    """Phi `(K,)` and its gradient `(p, K)` at K points."""

    value: np.ndarray
    gradient: Tensor


Potential = Callable[[Tensor, int], Evaluation]  # of displacements (p, K), at the step of that number


@dataclass(frozen=True)
class Chains:
    """K chains after so many steps: where they are, Phi there, and the size of their steps."""

    positions: Tensor = field(metadata=TENSOR)  # (p, K)
    gradient: Tensor = field(metadata=TENSOR)  # (p, K)
    value: np.ndarray  # (K,)
    gamma: float
    log_step: float
    mean_log_step: float  # over the second half of the adaptation
    steps: int = 0
    evaluations: int = 0  # of Phi and its gradient, for each chain

    @property
    def work(self) -> np.ndarray:
        """x'grad U `(K,)`; its mean is p, whatever Phi is (integration by parts)."""
        return column_sums(self.positions * (self.gradient + self.gamma * self.positions))

    @property
    def squared_gradient(self) -> np.ndarray:
        """|grad Phi|^2 `(K,)`."""
        return column_sums(self.gradient**2)

    def noise(self, seed: int, name: str) -> Tensor:
        """Normal numbers `(p, K)` of the next step: a function of the chain and the step."""
        size, count = self.positions.shape
        columns = [seeds.normal(size, self.positions, seed, name, chain, self.steps) for chain in range(count)]
        return torch.stack(columns, dim=1)

    def accept(self, accepted: np.ndarray, positions: Tensor, there: Evaluation, evaluations: int) -> Chains:
        """The chains after a step to `positions`, but those that did not accept it."""
        columns = torch.from_numpy(accepted).to(positions.device)
        return replace(
            self,
            positions=torch.where(columns, positions, self.positions),
            gradient=torch.where(columns, there.gradient, self.gradient),
            value=np.where(accepted, there.value, self.value),
            steps=self.steps + 1,
            evaluations=self.evaluations + evaluations,
        )


@dataclass(frozen=True)
class Moves:
    """What a step did: the probability with which each chain accepts, and whether its energy was finite."""

    acceptance: np.ndarray  # (K,)
    finite: np.ndarray  # (K,)


def begin_chains(potential: Potential, positions: Tensor, gamma: float, log_step: float) -> Chains:
    """Chains at their starts `(p, K)`."""
    at = potential(positions, 0)
    return Chains(positions, at.gradient, at.value, gamma, log_step, log_step, evaluations=1)


def column_sums(products: Tensor) -> np.ndarray:
    """Sums over the coordinates of `(p, K)`, in float64: `(K,)`."""
    sums: np.ndarray = products.sum(dim=0, dtype=torch.float64).cpu().numpy()
    return sums
