"""Solutions against dense inverses, their residuals and errors, and what a solve that fails says."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import drained
from conftest import tanh_net
from oracles.dense import symmetric
from resumed_runs import resumed_results
from small_influences import influence, kronecker_of, rows
from torch import Tensor

from landscape import Influence, Objective, session
from landscape.algorithms.linear_systems.state import SolutionGoal
from landscape.analyses.influence.damping import Damping
from landscape.analyses.influence.solving import (
    Matrix,
    SolvedQueries,
    errors_by_movement,
    residuals_of,
    solve_by_factors,
    solve_by_iterations,
)
from landscape.operators import GaussNewtonOperator

Data = tuple[Tensor, Tensor]
DAMPING = Damping(0.01)
SPECTRUM = np.geomspace(1, 1e-3, 30)


@pytest.fixture
def right() -> Tensor:
    """Three right sides as rows, of which one is 0."""
    found = torch.randn(3, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found[1] = 0
    return found


def solved(matrix: Matrix, right: Tensor, damping: Damping = DAMPING) -> SolvedQueries:
    found: SolvedQueries = drained(solve_by_iterations(matrix, right, damping, {}))[1]
    return found


def with_factors(objective: Objective) -> Matrix:
    kronecker = kronecker_of(objective, corrected=True)
    return Matrix(GaussNewtonOperator(objective), SolutionGoal(), kronecker)


# -- by iterations ---------------------------------------------------------------------------------------------------


def test_both_dampings_are_solved_in_their_places(right: Tensor) -> None:
    operator = symmetric(SPECTRUM)
    found = solved(Matrix(operator, SolutionGoal(tol=1e-10)), right)
    for x, damping in ((found.x, 0.01), (found.compared, 0.1)):
        dense = torch.linalg.solve(operator.matrix + damping * torch.eye(30, dtype=torch.float64), right.T)
        torch.testing.assert_close(x, dense, rtol=1e-7, atol=1e-8)
    assert found.trouble is None
    assert found.residuals.shape == found.iterations.shape == (3,)
    assert (found.residuals <= 1e-10).all()


def test_a_gradient_of_0_has_the_solution_0_at_once(right: Tensor) -> None:
    found = solved(Matrix(symmetric(SPECTRUM), SolutionGoal()), right)
    assert not found.x[:, 1].any()
    assert (found.residuals[1], found.iterations[1]) == (0.0, 0)


def test_an_earlier_solution_is_within_ten_tolerances(right: Tensor) -> None:
    operator = symmetric(SPECTRUM)
    found = solved(Matrix(operator, SolutionGoal(tol=1e-6)), right)
    assert found.earlier is not None
    rest = right.T - operator.matmat(found.earlier) - 0.01 * found.earlier
    residuals = (rest.norm(dim=0) / right.norm(dim=1))[[0, 2]]
    assert (residuals <= 1.01e-5).all()
    assert (residuals > 1e-6).all()


def test_a_resumed_solve_gives_the_same_bits(right: Tensor) -> None:
    matrix = Matrix(symmetric(SPECTRUM), SolutionGoal(tol=1e-4))
    whole, resumed = resumed_results(partial(solve_by_iterations, matrix, right, DAMPING))
    assert len(resumed) > 5
    for one in resumed:
        assert torch.equal(one.x, whole.x)
        assert np.array_equal(one.residuals, whole.residuals)
        assert one.products == whole.products


def test_progress_ends_at_100_percent_and_says_the_residual(right: Tensor) -> None:
    seen, _ = drained(solve_by_iterations(Matrix(symmetric(SPECTRUM), SolutionGoal(tol=1e-4)), right, DAMPING, {}))
    shares = [one.done for one in seen]
    assert shares[0] == 0
    assert len({share for share in shares if 0 < share < 100}) > 3
    assert (shares[-1], seen[-1].total) == (100, 100)
    assert " iterations, residual " in seen[-1].note


@pytest.mark.parametrize(
    ("spectrum", "goal", "kind", "words"),
    [
        (SPECTRUM, SolutionGoal(1e-8, 3), "unfinished", "after 3 iterations"),
        (np.linspace(-1, 1, 30), SolutionGoal(1e-8), "degenerate", "indefinite"),
    ],
    ids=["exhausted", "indefinite"],
)
def test_more_iterations_help_where_their_number_was_the_end(
    spectrum: np.ndarray, goal: SolutionGoal, kind: str, words: str, right: Tensor
) -> None:
    trouble = solved(Matrix(symmetric(spectrum), goal), right).trouble
    assert trouble is not None
    assert trouble.kind == kind
    assert words in trouble.why
    assert "damping" in trouble.fix


def test_a_solve_that_misses_the_tolerance_is_inconclusive_and_goes_on(fitted: Objective, tmp_path: Any) -> None:
    output = tmp_path / "run.landscape.h5"
    short = Influence(query="samples:0", precondition="none", tol=1e-8, max_iterations=2)
    first = session.execute(short, fitted, output=output)
    trouble = first.result.trouble()
    assert trouble is not None
    assert "after 2 iterations" in trouble.why
    said: list[str] = []
    longer = Influence(query="samples:0", precondition="none", tol=1e-8)
    second = session.execute(longer, fitted, output=output, say=said.append)
    assert "resumed" in said[0]
    assert second.result.trouble() is None
    assert second.result.iterations[0] > 2


def test_negative_curvature_is_found_with_its_remedy(classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy", dtype="float64")
    found = influence(objective, query="samples:0", operator="hessian", damping="1e-6")
    trouble = found.trouble()
    assert trouble is not None
    assert "indefinite" in trouble.why
    assert "--operator ggn" in trouble.fix


def test_errors_of_scores_are_of_the_size_that_is_stated(fitted: Objective) -> None:
    exact = influence(fitted, query="held-out", damping="1e-4", tol=1e-11)
    rough = influence(fitted, query="held-out", damping="1e-4", tol=1e-3, precondition="none")
    assert rough.scores is not None
    assert rough.error is not None
    assert rough.error_bound is not None
    actual = np.abs(rough.scores - exact.scores)
    root_mean = np.sqrt((actual**2).mean(axis=0))
    assert (root_mean < 10 * rough.error).all()
    assert (actual.max(axis=0) <= rough.error_bound).all()


# -- by factors ------------------------------------------------------------------------------------------------------


def test_factors_solve_as_their_dense_inverse_and_have_its_residual(fitted: Objective) -> None:
    matrix, damping = with_factors(fitted), Damping(0.2, (0.1, 0.2, 0.3))
    assert matrix.kronecker is not None
    gradients = rows(fitted)[:3]
    gradients[1] = 0
    groups = zip(fitted.space.layers(), (0.1, 0.2, 0.3), strict=True)
    shifts = torch.cat([torch.full((group.size,), one, dtype=torch.float64) for group, one in groups])
    seen, found = drained(solve_by_factors(matrix, gradients, damping, {}))
    dense = matrix.kronecker.to_dense()
    expected = torch.linalg.solve(dense + shifts.diag(), gradients.T)
    torch.testing.assert_close(found.x, expected, rtol=1e-7, atol=1e-10)
    compared = torch.linalg.solve(dense + 10 * shifts.diag(), gradients.T)
    torch.testing.assert_close(found.compared, compared, rtol=1e-7, atol=1e-10)
    rest = gradients.T - (matrix.operator.to_dense() + shifts.diag()) @ expected
    residuals = rest.norm(dim=0) / gradients.norm(dim=1)
    assert found.residuals[[0, 2]] == pytest.approx(residuals[[0, 2]].numpy(), rel=1e-7)
    assert found.residuals[1] == 0  # not 0 / 0
    assert found.earlier is None
    assert (len(seen), found.products) == (1, 3)


def test_residuals_that_are_known_are_not_measured_again(fitted: Objective) -> None:
    state: dict[str, Any] = {"residuals": np.array([0.5])}
    seen, found = drained(solve_by_factors(with_factors(fitted), rows(fitted)[:1], DAMPING, state))
    assert seen == []
    assert found.residuals is state["residuals"]


def test_a_solution_of_0_has_the_residual_1(fitted: Objective) -> None:
    right = rows(fitted)[:2].T.contiguous()
    found = residuals_of(with_factors(fitted), right, torch.zeros_like(right), DAMPING)
    assert found.tolist() == [1, 1]


def test_errors_that_fall_with_the_residual_follow_from_the_movement() -> None:
    """A score s + 10 e that becomes s + e has moved by 9 e, one that was s + 3 e by 2 e."""
    errors, bounds = np.array([[1e-3, -2e-4], [0.0, 5e-4]]), np.ones((2, 2))
    found = errors_by_movement(np.array([9, 2]) * errors, np.array([10.0, 3.0]), bounds)
    np.testing.assert_allclose(found, abs(errors))


def test_a_residual_that_falls_in_one_step_leaves_the_bound_as_the_error(fitted: Objective) -> None:
    """With a sketch of nearly all of the matrix, the first residual below ten tolerances is the last one."""
    exact = influence(fitted, query="held-out", damping="0.1", precondition="none")
    rough = influence(fitted, query="held-out", damping="0.1", precondition="kfac", tol=0.3)
    assert rough.score_errors is not None
    assert rough.scores is not None
    assert exact.scores is not None
    actual = np.abs(rough.scores - exact.scores)
    root_mean = np.sqrt((actual**2).mean(axis=0))
    assert (root_mean < 10 * np.sqrt((rough.score_errors**2).mean(axis=0))).all()
