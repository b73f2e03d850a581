"""Diagonals of designed matrices: errors that are honest, sketches that pay, limits, and which step comes next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles.dense import MatrixOperator, symmetric
from trace_runs import SPACE

from landscape.algorithms.estimators.diagonal.run import (
    DiagonalProblem,
    estimate_diagonal,
    forecast_products,
    next_diagonal_step,
)
from landscape.algorithms.estimators.diagonal.state import (
    DiagonalGoal,
    DiagonalState,
    error_and_square,
    initial_diagonal_state,
    relative_norm,
    sign_probe,
)

GROUPS = (*SPACE.layers(), SPACE.whole_group())
STEEP = np.concatenate([[30.0, 20.0, 10.0, -8.0], np.full(196, 0.0)])
SLOW = 1 / np.arange(1, 201.0)


def run(operator: MatrixOperator, rtol: float = 0.1, seed: int = 0, **changes: float) -> DiagonalState:
    goal = replace(DiagonalGoal(rtol, 10_000, 80), **changes)  # type: ignore[arg-type]
    *_, last = estimate_diagonal(DiagonalProblem(operator, GROUPS, seed), goal)
    return last


def truth(operator: MatrixOperator) -> np.ndarray:
    return operator.matrix.diag().double().numpy()


def diagonally_dominant(seed: int = 1, size: int = 200) -> MatrixOperator:
    """A matrix whose off-diagonal entries are small, and of both signs."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(size, size, generator=generator, dtype=torch.float64) * 0.02
    return MatrixOperator((noise + noise.T) / 2 + torch.diag(torch.linspace(-1, 3, size, dtype=torch.float64)))


def test_errors_cover_entries_and_sums_over_repeats() -> None:
    operator = diagonally_dominant()
    entries, sums, square = [], [], []
    for seed in range(100):
        state = run(operator, 0.03, seed)
        assert not state.exact
        difference = state.diagonal() - truth(operator)
        entries.append(np.abs(difference) < 2.365 * np.sqrt(state.variance()))  # Student's t with 7 degrees of freedom
        parts = [float(sum(difference[b:e].sum() for b, e in group.ranges)) for group in GROUPS]
        sums.append(np.abs(parts) < 2.365 * np.sqrt(state.group_variance()))
        square.append([(difference**2).sum(), state.variance().sum()])
    assert 0.93 < np.mean(entries) < 0.985
    assert 0.9 < np.mean(sums) < 0.995
    actual, stated = np.mean(square, axis=0)
    assert stated == pytest.approx(actual, rel=0.05)


def test_a_sketch_takes_the_large_eigenvalues_away_and_its_errors_are_honest() -> None:
    operator = symmetric(np.concatenate([STEEP[:4], np.linspace(0, 0.05, 196)]))
    goal = DiagonalGoal(0.05, 10_000, 80)
    entries, products = [], []
    for seed in range(30):
        *_, state = estimate_diagonal(DiagonalProblem(operator, GROUPS, seed), goal)
        assert not state.exact
        assert state.rank >= 8
        entries.append(np.abs(state.diagonal() - truth(operator)) < 2.365 * np.sqrt(state.variance()))
        products.append(state.products)
        assert relative_norm(*error_and_square(state, goal)) <= 0.05
    assert 0.93 < np.mean(entries) < 0.985
    assert np.mean(products) < 60


def test_a_matrix_of_low_rank_is_known_from_its_sketch() -> None:
    state = run(symmetric(STEEP), 1e-6)
    assert state.products < 40
    np.testing.assert_allclose(state.diagonal(), truth(symmetric(STEEP)), atol=1e-9)


def test_a_diagonal_matrix_has_no_error() -> None:
    operator = MatrixOperator(torch.diag(torch.linspace(-1, 2, 100, dtype=torch.float64)))
    state = _without_groups(operator)
    np.testing.assert_allclose(state.diagonal(), truth(operator), atol=1e-12)
    assert float(state.variance().max()) < 1e-24


def _without_groups(operator: MatrixOperator) -> DiagonalState:
    *_, state = estimate_diagonal(DiagonalProblem(operator, (), 0), DiagonalGoal(1e-9, 10_000, 0))
    return state


def test_few_or_dense_entries_are_computed_themselves() -> None:
    operator = symmetric(SLOW)
    state = run(operator, 0.001)
    assert state.complete
    np.testing.assert_allclose(state.diagonal(), truth(operator), rtol=1e-12)
    assert not state.variance().any()
    assert not state.group_variance().any()
    small = symmetric(np.arange(1, 13.0))
    *_, last = estimate_diagonal(DiagonalProblem(small, (), 0), DiagonalGoal(0.5, 12, 0))
    assert (last.products, last.exact) == (12, 12)


def test_the_known_part_makes_the_same_error_relatively_smaller() -> None:
    operator = diagonally_dominant()
    alone = run(operator, 0.02)
    beside = run(operator, 0.02, known=np.full(200, 20.0))
    assert beside.products < alone.products


def test_the_limit_on_products_is_kept() -> None:
    for limit in (1, 7, 30, 41):
        state = run(symmetric(SLOW), 1e-3, max_products=limit)
        assert state.products == limit
    assert np.isnan(initial_diagonal_state(torch.zeros(1), 5, 0, DiagonalGoal(0.1, 1, 0)).diagonal()).all()


def test_a_resumed_run_has_the_same_bits() -> None:
    operator, goal = diagonally_dominant(), DiagonalGoal(0.02, 10_000, 80)
    states = list(estimate_diagonal(DiagonalProblem(operator, GROUPS, 0), goal))
    *_, again = estimate_diagonal(DiagonalProblem(operator, GROUPS, 0), goal, states[1])
    assert np.array_equal(again.diagonal(), states[-1].diagonal())
    assert np.array_equal(again.variance(), states[-1].variance())
    assert next_diagonal_step(states[-1], goal) is None


def test_products_that_are_known_are_not_made_again() -> None:
    operator, goal = symmetric(SLOW), DiagonalGoal(0.3, 10_000, 80)
    first = next(estimate_diagonal(DiagonalProblem(operator, GROUPS, 0), goal))
    probes = torch.stack([sign_probe(200, operator.like, 0, "sketched", index) for index in range(8)], dim=1)
    calls = operator.columns
    problem = DiagonalProblem(operator, GROUPS, 0, operator.matrix @ probes)
    same = next(estimate_diagonal(problem, goal))
    assert operator.columns == calls + 8  # those of Q alone
    torch.testing.assert_close(same.basis[:8], first.basis[:8])


def test_a_spectrum_that_decays_is_expected_to_take_fewer_products() -> None:
    assert forecast_products(1000.0, 0) == 1000
    assert forecast_products(1000.0, 200) < 300
    assert forecast_products(0.1, 200) == 8


def test_errors_that_hide_the_diagonal_are_infinite() -> None:
    assert relative_norm(1.0, -0.5) == np.inf
    assert relative_norm(0.0, 0.0) == 0.0
    assert relative_norm(1.0, 4.0) == 0.5
