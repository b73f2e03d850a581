"""Ritz pairs of a run against the dense eigenpairs: their selection, residuals and error bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.dense import last, symmetric

from landscape.algorithms.lanczos.lanczos import lanczos
from landscape.algorithms.lanczos.ritz import (
    below_tolerance,
    error_bounds,
    is_converged,
    ritz_pairs,
    ritz_vectors,
    true_residuals,
)
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs

SPECTRUM = np.concatenate([[10.0, 6.0, 3.0], np.linspace(-1, 1, 97)])
OPERATOR = symmetric(SPECTRUM)
WANTED = WantedPairs(3, tol=1e-8, confirm=0)


def run(products: int, wanted: WantedPairs = WANTED) -> LanczosState:
    return last(lanczos(OPERATOR, wanted, max_basis=60, max_products=products))


@pytest.mark.parametrize("products", [4, 8, 16])
def test_residuals_are_those_of_the_vectors(products: int) -> None:
    state = run(products)
    pairs = ritz_pairs(state, WANTED)
    rows = ritz_vectors(pairs, state.basis)
    actual = torch.linalg.vector_norm(rows @ OPERATOR.matrix - torch.from_numpy(pairs.values)[:, None] * rows, dim=1)
    assert pairs.residuals == pytest.approx(actual.numpy(), rel=1e-6, abs=1e-10)
    assert torch.allclose(rows @ rows.T, torch.eye(3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("products", [6, 10, 20])
def test_error_bounds_hold(products: int) -> None:
    state = run(products)
    pairs = ritz_pairs(state, WANTED)
    distances = np.abs(pairs.values[:, None] - SPECTRUM[None, :]).min(axis=1)
    assert (distances <= error_bounds(pairs, state, WANTED)).all()


def test_values_are_as_exact_as_their_residuals_squared() -> None:
    """Kato and Temple: for an isolated eigenvalue the bound is far below the residual."""
    state = run(6)
    pairs = ritz_pairs(state, WANTED)
    assert 1e-6 < pairs.residuals[0] < 1
    assert error_bounds(pairs, state, WANTED)[0] < pairs.residuals[0] ** 2


def test_convergence_is_a_residual_below_the_tolerance() -> None:
    early, late = run(4), run(40)
    assert not is_converged(ritz_pairs(early, WANTED), early, WANTED.tol).any()
    pairs = ritz_pairs(late, WANTED)
    assert is_converged(pairs, late, WANTED.tol).all()
    assert (pairs.residuals <= np.maximum(WANTED.tol * np.abs(pairs.values), late.floor)).all()
    assert len(ritz_pairs(early, WANTED, only_converged=True).values) == 0


def test_the_tolerance_never_asks_for_less_than_rounding() -> None:
    state = run(20)
    values = np.array([1.0, 1e-30])
    assert below_tolerance(np.array([1e-9, state.floor]), values, state, 1e-8).all()
    assert not below_tolerance(np.array([1e-7, 2 * state.floor]), values, state, 1e-8).any()


def test_true_residuals_contain_the_rounding_of_products() -> None:
    state = run(20)
    assert true_residuals(np.array([0.0, 3.0]), state) == pytest.approx([state.noise, np.hypot(3, state.noise)])
