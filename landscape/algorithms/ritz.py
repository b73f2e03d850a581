"""Approximate eigenpairs of a Lanczos state, and how far they are from exact ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.basis import rotate
from landscape.algorithms.selection import discounted, select
from landscape.algorithms.state import LanczosState, Wanted


@dataclass(frozen=True)
class RitzPairs:
    """The wanted approximate eigenpairs, best first.

    `residuals` are ||A y - theta y|| by the Lanczos identity; `coefficients` `(k, l + a)` express the vectors y in the
    rows of the basis; `own` tells which pairs belong to the current cycle rather than to the locked ones.
    """

    values: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray
    own: np.ndarray

    def vectors(self, basis: Tensor) -> Tensor:
        """The Ritz vectors as rows, `(k, P)`."""
        out = torch.empty((len(self.values), basis.shape[1]), dtype=basis.dtype, device=basis.device)
        rotate(basis[: self.coefficients.shape[1]], self.coefficients, out)
        return out


def ritz(state: LanczosState, wanted: Wanted, *, only_converged: bool = False) -> RitzPairs:
    """The wanted pairs among the locked ones and those of the current cycle (or those of them that have converged).

    After the first lock a newcomer must beat a locked value by more than the tolerance, lest two copies of one
    repeated eigenvalue replace each other for ever.
    """
    values, rotation, radius = state.combined
    own = (rotation[state.locked :] ** 2).sum(axis=0) > 1 / 2
    rivals = values
    if state.locked:
        centre = (state.locked_values.max() + state.locked_values.min()) / 2
        margin = np.maximum(wanted.tol * np.abs(values), state.noise)
        rivals = np.where(own, discounted(values, margin, wanted.which, centre), values)
    eligible = np.flatnonzero(small(radius, values, state, wanted.tol)) if only_converged else np.arange(len(values))
    chosen = eligible[select(rivals[eligible], wanted.count, wanted.which)]
    return RitzPairs(values[chosen], radius[chosen], rotation[:, chosen].T, own[chosen])


def converged(pairs: RitzPairs, state: LanczosState, tol: float) -> np.ndarray:
    """Which pairs have a residual of at most tol |theta|, or of rounding error."""
    return small(pairs.residuals, pairs.values, state, tol)


def small(residuals: np.ndarray, values: np.ndarray, state: LanczosState, tol: float) -> np.ndarray:
    small: np.ndarray = residuals <= np.maximum(tol * np.abs(values), state.noise)
    return small


def error_bounds(pairs: RitzPairs, state: LanczosState) -> np.ndarray:
    """How far each value is from an eigenvalue at most: min(r, r^2 / gap) plus rounding, with r the residual.

    r holds for every symmetric matrix; r^2 / gap (Kato-Temple; Parlett 1980, section 11.7) where gap is the distance
    to the rest of the spectrum, here to the other Ritz values less their residuals. Products are rounded as well:
    `noise` is added.
    """
    every, _, radius = state.combined
    distance = np.abs(pairs.values[:, None] - every[None, :]) - radius[None, :]
    distance[pairs.values[:, None] == every[None, :]] = np.inf  # the pair itself
    gap = distance.min(axis=1, initial=np.inf)
    sharper = np.divide(pairs.residuals**2, gap, out=np.full_like(gap, np.inf), where=gap > 0)
    bounds: np.ndarray = np.minimum(pairs.residuals, sharper) + state.noise
    return bounds
