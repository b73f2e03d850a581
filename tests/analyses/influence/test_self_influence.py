"""The influence of samples on themselves against dense inverses, in every width, and resumed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from analysis_contract import drained
from resumed_runs import resumed_results
from small_influences import dense_inverse, kronecker_of, rows

from landscape import Objective
from landscape.algorithms.linear_systems.state import SolutionGoal
from landscape.analyses.influence.damping import Damping
from landscape.analyses.influence.self_influence import SelfInfluences, by_factors, by_iterations
from landscape.analyses.influence.solving import Matrix
from landscape.operators import GaussNewtonOperator

DAMPING = Damping(0.05)


def expected(objective: Objective, scored: Objective, inverse: str, damping: float) -> np.ndarray:
    """g'(A + damping I)^-1 g of every scored sample."""
    gradients = rows(scored)
    forms: np.ndarray = (gradients @ dense_inverse(objective, inverse, damping) * gradients).sum(dim=1).numpy()
    return forms


def iterated(objective: Objective, scored: Objective, goal: SolutionGoal) -> SelfInfluences:
    found: SelfInfluences = drained(by_iterations(Matrix(GaussNewtonOperator(objective), goal), scored, DAMPING, {}))[1]
    return found


@pytest.mark.parametrize("width", [1, 5, 32])
def test_iterations_give_the_dense_forms_in_every_width(fitted: Objective, width: int) -> None:
    found = iterated(fitted, fitted, SolutionGoal(1e-9, width=width))
    np.testing.assert_allclose(found.values, expected(fitted, fitted, "cg", 0.05), rtol=1e-6)
    np.testing.assert_allclose(found.compared, expected(fitted, fitted, "cg", 0.5), rtol=1e-6)
    assert 0 < found.residual <= 1e-9
    assert found.trouble is None


def test_products_and_the_worst_residual_are_those_of_all_samples(fitted: Objective) -> None:
    """Columns do not depend on each other, whichever share a pass."""
    one, many = (iterated(fitted, fitted, SolutionGoal(1e-2, width=width)) for width in (1, 32))
    assert one.products == many.products
    assert one.residual == pytest.approx(many.residual, rel=1e-6)


def test_a_solve_that_ends_too_early_says_so_in_all_chunks(fitted: Objective) -> None:
    found = iterated(fitted, fitted, SolutionGoal(1e-9, max_iterations=1, width=3))
    assert found.trouble is not None
    assert "after 1 iterations" in found.trouble.why
    assert found.residual > 1e-9
    assert len(found.values) == 16


def test_what_an_earlier_chunk_said_is_not_lost_on_the_way(fitted: Objective) -> None:
    """Each chunk misses the tolerance by another amount, and the words are those of the worst of all."""
    matrix = Matrix(GaussNewtonOperator(fitted), SolutionGoal(1e-9, max_iterations=2, width=3))
    whole, resumed = resumed_results(partial(by_iterations, matrix, fitted, DAMPING))
    assert whole.trouble is not None
    assert f"the residual is {whole.residual:.2g} after 2 iterations" in whole.trouble.why
    assert len(resumed) > 6
    assert {one.trouble for one in resumed} == {whole.trouble}
    assert {one.residual for one in resumed} == {whole.residual}


def test_more_iterations_go_on_where_fewer_ended_and_settled_samples_stay(fitted: Objective) -> None:
    """A limit that the last samples do not keep to: their chunk is solved again, as if at once."""
    few, many = (Matrix(GaussNewtonOperator(fitted), SolutionGoal(1e-9, limit, width=4)) for limit in (8, 100))
    states, ended = drained(by_iterations(few, fitted, DAMPING, {}))
    assert ended.trouble is not None
    assert ended.trouble.kind == "unfinished"
    whole = iterated(fitted, fitted, many.goal)
    again = drained(by_iterations(many, fitted, DAMPING, dict(states[-1].state())))[1]
    assert np.array_equal(again.values, whole.values)
    assert (again.trouble, again.residual, again.products) == (None, whole.residual, whole.products)


def test_resumed_iterations_give_the_same_bits(fitted: Objective) -> None:
    scored = fitted.with_data(fitted.populations["memorized"])
    matrix = Matrix(GaussNewtonOperator(fitted), SolutionGoal(1e-3, width=4))
    whole, resumed = resumed_results(partial(by_iterations, matrix, scored, DAMPING))
    assert len(resumed) > 4
    for one in resumed:
        assert np.array_equal(one.values, whole.values)
        assert np.array_equal(one.compared, whole.compared)
        assert (one.residual, one.products) == (whole.residual, whole.products)


def test_factors_give_the_dense_forms_with_the_worst_residual(fitted: Objective) -> None:
    scored = fitted.with_data(fitted.populations["memorized"])  # 6 samples, so that all of them are multiplied
    matrix = Matrix(GaussNewtonOperator(fitted), SolutionGoal(), kronecker_of(fitted, corrected=True))
    whole, resumed = resumed_results(lambda saved: by_factors(matrix, scored, DAMPING, 0, saved))
    np.testing.assert_allclose(whole.values, expected(fitted, scored, "ekfac", 0.05), rtol=1e-7)
    np.testing.assert_allclose(whole.compared, expected(fitted, scored, "ekfac", 0.5), rtol=1e-7)
    right = rows(scored).T
    damped = GaussNewtonOperator(fitted).to_dense() + 0.05 * torch.eye(fitted.space.size, dtype=torch.float64)
    rest = right - damped @ dense_inverse(fitted, "ekfac", 0.05) @ right
    assert whole.residual == pytest.approx(float((rest.norm(dim=0) / right.norm(dim=0)).max()), rel=1e-7)
    assert whole.products == 6
    (again,) = resumed
    assert np.array_equal(again.values, whole.values)
    assert again.residual == whole.residual


def test_a_few_samples_tell_the_residual_of_factors(fitted: Objective) -> None:
    """Eight of 16: the same ones for the same seed, and others for another seed."""
    matrix = Matrix(GaussNewtonOperator(fitted), SolutionGoal(), kronecker_of(fitted, corrected=True))
    found = [drained(by_factors(matrix, fitted, DAMPING, seed, {}))[1] for seed in (0, 0, 1, 2, 3)]
    residuals = [one.residual for one in found]
    assert [one.products for one in found] == [8] * 5
    assert residuals[0] == residuals[1]
    assert len(set(residuals)) > 1
