"""Approximate eigenpairs of a Lanczos state, and their errors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.lanczos.basis import eigh, rotate
from landscape.algorithms.lanczos.selection import select_eigenvalues
from landscape.algorithms.lanczos.state import Candidates, LanczosState, WantedPairs


def ritz_pairs(state: LanczosState, wanted: WantedPairs, *, only_converged: bool = False) -> Candidates:
    """The wanted pairs, best first, among all candidates, or among those that have converged.

    After the first lock a new value must beat a locked one by more than the tolerance. Otherwise two copies of one
    repeated eigenvalue would replace each other forever.
    """
    candidates = state.candidates
    margin = np.maximum(wanted.tol * np.abs(candidates.values), state.floor)
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


def error_bounds(pairs: Candidates, state: LanczosState) -> np.ndarray:
    """Bounds on the distance of each value to an eigenvalue: min(r, r^2 / gap) and rounding, with r the residual.

    r is a bound for every symmetric matrix. r^2 / gap (Kato-Temple; Parlett 1980, section 11.7) is one if gap is the
    distance to the rest of the spectrum, here to the other Ritz values less their residuals. `noise` accounts for the
    rounding of the products.
    """
    candidates = state.candidates
    distance = np.abs(pairs.values[:, None] - candidates.values[None, :]) - candidates.residuals[None, :]
    itself = np.abs(pairs.coefficients @ candidates.coefficients.T) > np.sqrt(1 / 2)
    gap = np.where(itself, np.inf, distance).min(axis=1, initial=np.inf)
    sharper = np.divide(pairs.residuals**2, gap, out=np.full_like(gap, np.inf), where=gap > 0)
    bounds: np.ndarray = np.minimum(true_residuals(pairs.residuals, state), sharper + state.noise)
    return bounds


def true_residuals(residuals: np.ndarray, state: LanczosState) -> np.ndarray:
    """Residuals that include the rounding of the products, which Lanczos residuals do not contain."""
    combined: np.ndarray = np.hypot(residuals, state.noise)
    return combined
