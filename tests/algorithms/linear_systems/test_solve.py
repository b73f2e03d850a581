"""Inverse products against dense solvers and scipy, on designed spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from oracles.dense import MatrixOperator, symmetric
from scipy.sparse.linalg import cg
from torch import Tensor

import landscape
from landscape import Objective
from landscape.algorithms.linear_systems.solve import conjugate_gradients
from landscape.algorithms.linear_systems.state import ColumnStatus, LinearSystems, SolutionGoal, begin_solution
from landscape.errors import NumericalError, UsageError
from landscape.operators import operator

SIZE = 60
SPECTRA = {
    "decaying": np.geomspace(1, 1e-4, SIZE),
    "clustered": np.concatenate([np.full(20, 1.0), np.full(20, 1.001), np.full(20, 0.5)]),
    "ill-conditioned": np.concatenate([[1e4], np.linspace(0.1, 1, SIZE - 1)]),
    "singular": np.concatenate([np.zeros(30), np.linspace(0.5, 1, 30)]),
}


@pytest.fixture
def block() -> Tensor:
    return torch.randn(SIZE, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=list(SPECTRA))
def test_solutions_are_those_of_a_dense_solver(spectrum: np.ndarray, block: Tensor) -> None:
    matrix = symmetric(spectrum)
    solution = landscape.solve(matrix, block, damping=0.01, tol=1e-10)
    dense = np.linalg.solve(matrix.matrix.numpy() + 0.01 * np.eye(SIZE), block.numpy())
    assert solution.converged
    assert np.allclose(solution.x.numpy(), dense, rtol=1e-7, atol=1e-7 * np.abs(dense).max())


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=list(SPECTRA))
def test_iterations_are_those_of_scipy(spectrum: np.ndarray, block: Tensor) -> None:
    matrix, shifted = symmetric(spectrum), symmetric(spectrum).matrix.numpy() + 0.01 * np.eye(SIZE)
    steps: list[int] = []
    cg(shifted, block[:, 0].numpy(), rtol=0.8e-6, callback=lambda x: steps.append(1))
    assert abs(int(landscape.solve(matrix, block[:, 0], damping=0.01, tol=1e-6).iterations[0]) - len(steps)) <= 1


def test_the_residual_is_that_of_the_solution(block: Tensor) -> None:
    matrix = symmetric(SPECTRA["decaying"])
    solution = landscape.solve(matrix, block, damping=0.01, tol=1e-4)
    rest = block - matrix.matrix @ solution.x - 0.01 * solution.x
    expected = torch.linalg.vector_norm(rest, dim=0) / torch.linalg.vector_norm(block, dim=0)
    assert np.allclose(solution.residuals, expected, rtol=1e-9)
    assert (solution.residuals <= 1e-4).all()


def test_columns_have_dampings_of_their_own_and_do_not_depend_on_each_other(block: Tensor) -> None:
    matrix = symmetric(SPECTRA["decaying"])
    together = landscape.solve(matrix, block, damping=[1.0, 0.1, 0.01], tol=1e-8)
    for place, damping in enumerate((1.0, 0.1, 0.01)):
        alone = landscape.solve(matrix, block[:, place], damping=damping, tol=1e-8)
        assert torch.allclose(together.x[:, place], alone.x, rtol=1e-6, atol=1e-6)
        assert together.iterations[place] == alone.iterations[0]


def test_converged_columns_rest(block: Tensor) -> None:
    matrix = symmetric(SPECTRA["decaying"])
    solution = landscape.solve(matrix, block, damping=[10.0, 1.0, 0.001], tol=1e-8)
    assert solution.iterations[0] < solution.iterations[1] < solution.iterations[2]
    assert matrix.columns == solution.products == solution.iterations.sum() + 3


def test_the_inverse_as_preconditioner_takes_one_iteration(block: Tensor) -> None:
    matrix = symmetric(SPECTRA["ill-conditioned"])
    inverse = MatrixOperator(torch.linalg.inv(matrix.matrix + 0.01 * torch.eye(SIZE, dtype=torch.float64)))
    solution = landscape.solve(matrix, block, damping=0.01, tol=1e-8, preconditioner=inverse)
    assert solution.converged
    assert (solution.iterations == 1).all()


def test_an_indefinite_matrix_is_found_and_a_larger_damping_solves_it(block: Tensor) -> None:
    matrix = symmetric(np.linspace(-0.5, 1, SIZE))
    found = landscape.solve(matrix, block, damping=0.1)
    assert not found.converged
    assert set(found.status) == {ColumnStatus.NEGATIVE_CURVATURE}
    assert (found.curvatures < 0).all()
    assert (found.curvatures >= -0.4 - 1e-12).all()  # a Rayleigh quotient
    assert "indefinite" in found.why
    assert "--operator ggn" in found.fix
    assert landscape.solve(matrix, block, damping=0.6).converged


def test_iterations_that_run_out_are_told_with_the_residual(block: Tensor) -> None:
    solution = landscape.solve(symmetric(SPECTRA["decaying"]), block, damping=1e-4, max_iterations=3)
    assert not solution.converged
    assert (solution.iterations == 3).all()
    assert "after 3 iterations" in solution.why
    assert (solution.residuals > 1e-3).all()


def test_rounding_that_hides_the_tolerance_is_told() -> None:
    matrix = symmetric(np.geomspace(1, 1e-3, SIZE), dtype=torch.float32)
    vector = torch.ones(SIZE)
    solution = landscape.solve(matrix, vector, damping=1e-3, tol=1e-9)
    assert not solution.converged
    assert "rounding" in solution.why
    assert "float64" in solution.fix


def test_a_right_side_of_zeros_has_the_solution_zero() -> None:
    matrix = symmetric(SPECTRA["decaying"])
    solution = landscape.solve(matrix, torch.zeros(SIZE, dtype=torch.float64))
    assert solution.converged
    assert matrix.columns == 0
    assert not solution.x.any()


def test_a_state_goes_on_to_the_same_bits(block: Tensor) -> None:
    systems = LinearSystems(symmetric(SPECTRA["decaying"]), block, np.full(3, 0.01))
    goal = SolutionGoal(tol=1e-8)
    states = list(conjugate_gradients(systems, goal))
    for stop in (0, len(states) // 2, len(states) - 1):
        rest = list(conjugate_gradients(systems, goal, states[stop]))
        assert len(rest) == len(states) - 1 - stop
        assert torch.equal((rest or states)[-1].solution, states[-1].solution)


def test_more_iterations_go_on_where_they_ran_out(block: Tensor) -> None:
    systems = LinearSystems(symmetric(SPECTRA["decaying"]), block, np.full(3, 0.01))
    *_, short = conjugate_gradients(systems, SolutionGoal(max_iterations=4))
    assert (short.status == ColumnStatus.EXHAUSTED).all()
    *_, longer = conjugate_gradients(systems, SolutionGoal(max_iterations=100), short)
    assert (longer.status == ColumnStatus.CONVERGED).all()
    assert (longer.iterations > 4).all()


def test_steps_do_not_change_earlier_states(block: Tensor) -> None:
    systems = LinearSystems(symmetric(SPECTRA["decaying"]), block, np.full(3, 0.01))
    begin = begin_solution(systems)
    list(conjugate_gradients(systems, SolutionGoal(), begin))
    assert not begin.solution.any()
    assert torch.equal(begin.residual, block)


def test_the_movement_of_a_solution_bounds_what_is_left(block: Tensor) -> None:
    systems = LinearSystems(symmetric(SPECTRA["decaying"]), block, np.full(3, 1e-4))
    *_, end = conjugate_gradients(systems, SolutionGoal(tol=1e-3))
    exact = torch.linalg.solve(symmetric(SPECTRA["decaying"]).matrix + 1e-4 * torch.eye(SIZE), block)
    left, moved = (torch.linalg.vector_norm(part, dim=0) for part in (exact - end.solution, end.solution - end.earlier))
    assert (left < moved).all()


def test_a_preconditioner_that_is_not_positive_is_refused(block: Tensor) -> None:
    with pytest.raises(NumericalError, match="not positive definite"):
        landscape.solve(symmetric(SPECTRA["decaying"]), block, preconditioner=symmetric(-np.ones(SIZE)))


@pytest.mark.parametrize(
    ("vector", "damping", "words"),
    [
        (torch.ones(7, dtype=torch.float64), 0.1, r"shape \(7,\), and the operator \(60, 60\)"),
        (torch.ones(SIZE, dtype=torch.float64), -0.1, "damping is -0.1"),
        (torch.ones(SIZE, 2, dtype=torch.float64), [0.1] * 3, "3 dampings for 2 columns"),
    ],
    ids=["length", "negative", "number"],
)
def test_what_does_not_fit_is_refused(vector: Tensor, damping: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        landscape.solve(symmetric(SPECTRA["decaying"]), vector, damping=damping)


@pytest.mark.parametrize("name", ["hessian", "ggn", "fisher", "empirical-fisher"])
def test_every_matrix_of_an_objective_is_solved(name: str, classification: tuple[Tensor, Tensor]) -> None:
    matrix = operator(name, Objective(tanh_net(), [classification], "cross_entropy", dtype="float64"))  # type: ignore[arg-type]
    vector = torch.ones(matrix.size, dtype=torch.float64)
    solution = landscape.solve(matrix, vector, damping=5.0, tol=1e-10)
    dense = torch.linalg.solve(matrix.to_dense() + 5 * torch.eye(matrix.size), vector)
    assert torch.allclose(solution.x, dense, rtol=1e-8, atol=1e-10)
