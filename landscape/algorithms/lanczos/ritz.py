"""Approximate eigenpairs of a Lanczos state, and their errors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.lanczos.basis import eigh, rotate
from landscape.algorithms.lanczos.selection import select_eigenvalues
from landscape.algorithms.lanczos.state import Candidates, LanczosState, WantedPairs

# A vector between two eigenvectors of a cluster has a value at most so many of its residuals below the larger one, for
# 95 % of all random starts: that is the quotient of two normal numbers, whose law is Cauchy's
HIDDEN = 13


def ritz_pairs(state: LanczosState, wanted: WantedPairs, *, only_converged: bool = False) -> Candidates:
    """The wanted pairs, best first, among all candidates, or among those that have converged.

    After the first lock a new value must beat a locked one by more than the tolerance. Otherwise two copies of one
    repeated eigenvalue would replace each other forever.
    """
    candidates = state.candidates
    margin = _margins(candidates, state, wanted)
    handicap = np.where(candidates.own, margin, 0.0) if state.locked else np.zeros(len(margin))
    eligible = np.arange(len(margin))
    if only_converged:
        eligible = np.flatnonzero(below_tolerance(candidates.residuals, candidates.values, state, wanted.tol))
    values = candidates.values[eligible]
    return candidates[eligible[select_eigenvalues(values, wanted.count, wanted.which, handicap[eligible])]]


def rayleigh_ritz(pairs: Candidates, state: LanczosState, wanted: WantedPairs) -> Candidates:
    """The pairs after Rayleigh-Ritz among themselves, which couples locked pairs and those of the current cycle.

    The directions of the residuals are unknown, so their norms are added.
    """
    locked, own = pairs.coefficients[:, : state.locked], pairs.coefficients[:, state.locked :]
    if state.exhausted or not state.locked or not pairs.own.any():
        return pairs
    leak = locked @ state.leakage @ own.T
    total = ((state.leakage @ own.T) ** 2).sum(axis=0)  # of each own pair, into all of L
    outward = np.where(pairs.own, 0.0, pairs.residuals**2 - (leak**2).sum(axis=1))
    inward = np.where(pairs.own, pairs.residuals**2 + total - (leak**2).sum(axis=0), 0.0)
    values, rotation = eigh(np.diag(pairs.values) + leak + leak.T)
    residuals = np.sqrt(np.maximum(outward + inward, 0)) @ np.abs(rotation)
    weight = (rotation[pairs.own] ** 2).sum(axis=0) > 1 / 2
    mixed = Candidates(values, residuals, rotation.T @ pairs.coefficients, weight)
    return mixed[select_eigenvalues(values, wanted.count, wanted.which)]


def rivals(state: LanczosState, wanted: WantedPairs) -> Candidates:
    """The best pair of the search that goes on now, at each end that is searched: what may lie beside wanted pairs."""
    own = np.flatnonzero(state.candidates.own) if state.locked and not state.exhausted else np.zeros(0, dtype=np.int64)
    ends = 2 if wanted.which == "both" else 1
    return state.candidates[own[select_eigenvalues(state.candidates.values[own], ends, wanted.which)]]


def is_gap_open(state: LanczosState, wanted: WantedPairs) -> bool:
    """Whether a pair of the search may still become one whose value is that of a wanted pair, within the tolerance.

    One start finds one vector in the space of a cluster, and a value in between: its residual does not tell.
    """
    others, pairs = rivals(state, wanted), ritz_pairs(state, wanted)
    unsure = ~below_tolerance(others.residuals, others.values, state, wanted.tol)
    return bool((_near(pairs, others, state, wanted) & unsure[None, :]).any())


def final_pairs(state: LanczosState, wanted: WantedPairs) -> Candidates:
    """The wanted pairs; where the search has found a further copy within the tolerance, of the space of both.

    Residuals of such pairs are sums of norms: where they are beyond the tolerance, the pairs remain what they were.
    """
    pairs, others = ritz_pairs(state, wanted), rivals(state, wanted)
    if pairs.own.any() or not len(others.values):
        return rayleigh_ritz(pairs, state, wanted)
    known = below_tolerance(others.residuals, others.values, state, wanted.tol)
    others = others[known & _near(pairs, others, state, wanted).any(axis=0)]
    if not len(others.values):
        return pairs
    both = Candidates(
        *(np.concatenate([one, other]) for one, other in zip(vars(pairs).values(), vars(others).values(), strict=True))
    )
    mixed = rayleigh_ritz(both, state, wanted)
    below = below_tolerance(mixed.residuals, mixed.values, state, wanted.tol)
    return mixed if below.all() else pairs


def _margins(pairs: Candidates, state: LanczosState, wanted: WantedPairs) -> np.ndarray:
    """How far the value of each pair may be off by the tolerance, `(n,)`."""
    margins: np.ndarray = np.maximum(wanted.tol * np.abs(pairs.values), state.floor)
    return margins


def _near(pairs: Candidates, others: Candidates, state: LanczosState, wanted: WantedPairs) -> np.ndarray:
    """Whether each other value, with what its residual may hide, reaches into the tolerance of each pair, `(n, m)`."""
    distance = np.abs(pairs.values[:, None] - others.values[None, :])
    near: np.ndarray = distance <= HIDDEN * others.residuals[None, :] + _margins(pairs, state, wanted)[:, None]
    return near


def ritz_vectors(pairs: Candidates, basis: Tensor) -> Tensor:
    """The vectors of the pairs as rows, `(k, P)`."""
    out = torch.empty((len(pairs.values), basis.shape[1]), dtype=basis.dtype, device=basis.device)
    rotate(basis[: pairs.coefficients.shape[1]], pairs.coefficients, out)
    return out


def is_converged(pairs: Candidates, state: LanczosState, tol: float) -> np.ndarray:
    """Whether each pair's residual and the measured rounding are below tol |theta| or the rounding floor, `(k,)`."""
    return _within_tolerance(pairs.values, pairs.residuals, state, tol)


def latest_values(state: LanczosState, tol: float) -> tuple[np.ndarray, int]:
    """The wanted values when they were last computed, best first, and how many of them had converged."""
    known = np.flatnonzero(np.isfinite(state.value_history[:, 0]))
    if not len(known):
        return np.zeros(0), 0
    values, residuals = state.value_history[known[-1]], state.residual_history[known[-1]]
    values, residuals = values[np.isfinite(values)], residuals[np.isfinite(values)]
    return values, int(_within_tolerance(values, residuals, state, tol).sum())


def _within_tolerance(values: np.ndarray, residuals: np.ndarray, state: LanczosState, tol: float) -> np.ndarray:
    """Whether each residual, and the measured rounding, are below the tolerance."""
    below: np.ndarray = below_tolerance(residuals, values, state, tol) & below_tolerance(
        state.noise, values, state, tol
    )
    return below


def below_tolerance(residuals: np.ndarray | float, values: np.ndarray, state: LanczosState, tol: float) -> np.ndarray:
    """Whether each residual is at most tol |theta|, or the rounding floor, below which products cannot lower it."""
    below: np.ndarray = residuals <= np.maximum(tol * np.abs(values), state.floor)
    return below


def error_bounds(pairs: Candidates, state: LanczosState, wanted: WantedPairs) -> np.ndarray:
    """Bounds on the error of each value: min(r, r^2 / gap) and rounding, of residual r; the tolerance in clusters.

    r bounds the distance to an eigenvalue, for every symmetric matrix. r^2 / gap (Kato-Temple; Parlett 1980, section
    11.7) does if gap is the distance to the rest of the spectrum, here to the other Ritz values less their residuals.
    `noise` accounts for the rounding of the products. Where another value lies within the tolerance, or the search has
    not shown that none does, the vector may be a mixture, and the value that of any of them: the tolerance is then the
    bound, if it is larger.
    """
    candidates = state.candidates
    distance = np.abs(pairs.values[:, None] - candidates.values[None, :]) - candidates.residuals[None, :]
    itself = np.abs(pairs.coefficients @ candidates.coefficients.T) > np.sqrt(1 / 2)
    gap = np.where(itself, np.inf, distance).min(axis=1, initial=np.inf)
    sharper = np.divide(pairs.residuals**2, gap, out=np.full_like(gap, np.inf), where=gap > 0)
    bounds: np.ndarray = np.minimum(true_residuals(pairs.residuals, state), sharper + state.noise)
    margins = _margins(pairs, state, wanted)
    known = below_tolerance(candidates.residuals, candidates.values, state, wanted.tol)
    in_cluster = (_near(pairs, candidates, state, wanted) & known[None, :] & ~itself).any(axis=1)
    others = rivals(state, wanted)
    apart = np.abs(pairs.coefficients @ others.coefficients.T) <= np.sqrt(1 / 2)
    in_cluster |= (_near(pairs, others, state, wanted) & apart).any(axis=1)
    return np.where(in_cluster, np.maximum(bounds, margins), bounds)


def true_residuals(residuals: np.ndarray, state: LanczosState) -> np.ndarray:
    """Residuals that include the rounding of the products, which Lanczos residuals do not contain."""
    combined: np.ndarray = np.hypot(residuals, state.noise)
    return combined
