"""The losses of the samples at points along an update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.crossing.interval import ChangeCurve
from landscape.evaluation.per_sample.loss_sums import has_sample_losses, sample_loss_sums
from landscape.objective import Objective

BASE, ROUNDED, STEPS, SUMS = "base", "rounded", "steps", "sums"  # arrays of a snapshot


@dataclass(frozen=True)
class EvaluatedPoints:
    """The losses of N samples at the weights and at steps along an update; one row for all of them without samples.

    `base` `(N, 2)` are their sums and the terms that they count, `rounded` `(N, 2)` the same at weights whose last bits
    are changed, and `sums` those at each of the `steps`.
    """

    base: np.ndarray | None = None
    rounded: np.ndarray | None = None
    steps: tuple[float, ...] = ()
    sums: tuple[np.ndarray, ...] = field(default=())

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray]) -> EvaluatedPoints:
        """The points of a snapshot."""
        steps = tuple(float(step) for step in arrays.get(STEPS, ()))
        return cls(arrays.get(BASE), arrays.get(ROUNDED), steps, tuple(arrays.get(SUMS, ())))

    def snapshot(self) -> dict[str, np.ndarray]:
        """Arrays from which `restore` makes the same points."""
        known = {BASE: self.base, ROUNDED: self.rounded}
        arrays = {name: array.copy() for name, array in known.items() if array is not None}
        return {**arrays, STEPS: np.array(self.steps), SUMS: np.array(self.sums)} if self.steps else arrays

    def with_point(self, step: float, sums: np.ndarray) -> EvaluatedPoints:
        """The points with one more."""
        return replace(self, steps=(*self.steps, step), sums=(*self.sums, sums[:, 0]))

    @property
    def passes(self) -> int:
        """The forward passes that were made."""
        return (self.base is not None) + (self.rounded is not None) + len(self.steps)

    @property
    def counts(self) -> np.ndarray:
        """The terms that each sample counts, `(N,)`."""
        assert self.base is not None
        return self.base[:, 1]

    @property
    def loss(self) -> float:
        """The mean loss at the weights."""
        assert self.base is not None
        return float(self.base[:, 0].sum() / self.counts.sum())

    @property
    def differences(self) -> np.ndarray:
        """The change of each sample's sum at each step, `(n, N)`."""
        assert self.base is not None
        sums = np.array(self.sums).reshape(len(self.steps), len(self.base))
        differences: np.ndarray = sums - self.base[:, 0]
        return differences

    @property
    def changes(self) -> tuple[float, ...]:
        """The change of the mean loss at each step; sums of differences, which cancel less than those of losses."""
        return tuple((self.differences.sum(axis=1) / self.counts.sum()).tolist())

    @property
    def by_sample(self) -> bool:
        """Whether there are several samples with losses of their own, so that the change has an error."""
        return len(self.counts) > 1

    @property
    def curve(self) -> ChangeCurve:
        """The change per unit of step with its error by the choice of the samples, between the points."""
        return ChangeCurve.of(np.array(self.steps), self.differences, self.counts, self.noise)

    @property
    def noise(self) -> float:
        """The rounding error of the mean loss: its change at weights whose last bits are changed.

        One such change may be small by chance. So it is at least the change that independent rounding errors of the
        samples' sizes have.
        """
        assert self.rounded is not None
        assert self.base is not None
        differences = self.rounded[:, 0] - self.base[:, 0]
        total = abs(float(differences.sum()))
        return max(total, float(np.linalg.norm(differences))) / float(self.counts.sum())


@dataclass(frozen=True)
class UpdatePath:
    """The losses of the objective's samples at theta - eta d, with d `(P,)` the update."""

    objective: Objective
    direction: Tensor

    @cached_property
    def by_sample(self) -> bool:
        """Whether samples have losses of their own."""
        return has_sample_losses(self.objective)

    @cached_property
    def _passing(self) -> Objective:
        """The objective whose attention may run in fused kernels: no second derivative is taken."""
        return self.objective.variant(function=replace(self.objective.function, fused=True))

    @cached_property
    def _point(self) -> Tensor:
        """The vector `(P,)` that moved weights are written to."""
        return torch.empty_like(self.direction)

    def sums_at(self, step: float) -> np.ndarray:
        """The samples' summed losses at a step, with the terms that they count, `(N, 2)`; `(1, 2)` without samples."""
        return self._sums(torch.add(self.objective.theta, self.direction, alpha=-step, out=self._point))

    def sums_nearby(self, seed: int) -> np.ndarray:
        """The same at the weights, each of which is changed by a machine epsilon up or down."""
        signs = seeds.fill_normal(self._point, seed, "rounding", 0).sign_()
        return self._sums(signs.mul_(torch.finfo(signs.dtype).eps).add_(1).mul_(self.objective.theta))

    def _sums(self, theta: Tensor) -> np.ndarray:
        if self.by_sample:
            sums: np.ndarray = sample_loss_sums(self._passing, theta).cpu().numpy()
            return sums
        count = self.objective.count
        return np.array([[float(self._passing.value(theta)) * count, count]])
