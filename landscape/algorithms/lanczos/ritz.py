"""Approximate eigenpairs of a Lanczos state, and how far they are from exact ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.lanczos.basis import eigh, rotate
from landscape.algorithms.lanczos.selection import select_eigenvalues
from landscape.algorithms.lanczos.state import Candidates, LanczosState, WantedPairs


def ritz_pairs(state: LanczosState, wanted: WantedPairs, *, only_converged: bool = False) -> Candidates:
    """The wanted pairs, best first, among all candidates (or those of them that have converged).

    After the first lock a newcomer must beat a locked value by more than the tolerance, lest two copies of one
    repeated eigenvalue replace each other for ever.
    """
    every = state.candidates
    margin = np.maximum(wanted.tol * np.abs(every.values), state.floor)
    handicap = np.where(every.own, margin, 0.0) if state.locked else np.zeros(len(margin))
    eligible = np.arange(len(margin))
    if only_converged:
        eligible = np.flatnonzero(below_tolerance(every.residuals, every.values, state, wanted.tol))
    return every[eligible[select_eigenvalues(every.values[eligible], wanted.count, wanted.which, handicap[eligible])]]


def rayleigh_ritz(pairs: Candidates, state: LanczosState, wanted: WantedPairs) -> Candidates:
    """The pairs after Rayleigh-Ritz among themselves, with what leaks between locked and own ones accounted for.

    The directions of the residuals are not known: their norms are added.
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


def have_converged(pairs: Candidates, state: LanczosState, tol: float) -> np.ndarray:
    """Which pairs are known to tol |theta|, or to the floor of the arithmetic: residual and measured rounding."""
    known: np.ndarray = below_tolerance(pairs.residuals, pairs.values, state, tol) & below_tolerance(
        state.noise, pairs.values, state, tol
    )
    return known


def below_tolerance(residuals: np.ndarray | float, values: np.ndarray, state: LanczosState, tol: float) -> np.ndarray:
    """Which residuals are at most tol |theta|, or the floor of the arithmetic: more products do not lower them."""
    below: np.ndarray = residuals <= np.maximum(tol * np.abs(values), state.floor)
    return below


def error_bounds(pairs: Candidates, state: LanczosState) -> np.ndarray:
    """How far each value is from an eigenvalue at most: min(r, r^2 / gap) beside rounding, with r the residual.

    r holds for every symmetric matrix; r^2 / gap (Kato-Temple; Parlett 1980, section 11.7) where gap is the distance
    to the rest of the spectrum, here to the other Ritz values less their residuals. Products are rounded as well:
    `noise` is added.
    """
    every = state.candidates
    distance = np.abs(pairs.values[:, None] - every.values[None, :]) - every.residuals[None, :]
    itself = np.abs(pairs.coefficients @ every.coefficients.T) > np.sqrt(1 / 2)
    gap = np.where(itself, np.inf, distance).min(axis=1, initial=np.inf)
    sharper = np.divide(pairs.residuals**2, gap, out=np.full_like(gap, np.inf), where=gap > 0)
    bounds: np.ndarray = np.minimum(true_residuals(pairs.residuals, state), sharper + state.noise)
    return bounds


def true_residuals(residuals: np.ndarray, state: LanczosState) -> np.ndarray:
    """Lanczos residuals with what they do not know: the rounding of the products."""
    together: np.ndarray = np.hypot(residuals, state.noise)
    return together
