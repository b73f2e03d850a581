"""The eigenvalues of populations against dense Hessians, and the contract of `eig --by`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract
from population_objectives import CLASSES, dense_of_class, pairs, population_objective
from torch import nn

import landscape
from landscape import Eig, Objective
from landscape.analyses.eig_populations import count_ranks
from landscape.choices import OperatorName


class TestEigByClass(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Eig:
        return Eig(k=2, by="class")

    @pytest.fixture
    def objective(self) -> Objective:
        return population_objective()


@pytest.fixture(scope="module")
def result() -> landscape.analyses.eig.EigResult:
    return landscape.run(Eig(k=4, by="class", tol=1e-8), population_objective())


def test_eigenvalues_are_the_largest_of_dense_matrices(result: landscape.analyses.eig.EigResult) -> None:
    for label in range(CLASSES):
        exact = float(torch.linalg.eigvalsh(dense_of_class(label))[-1])
        assert abs(result.population_eigenvalue[label] - exact) <= result.population_residual[label] + 1e-12
    assert result.population_converged.all()


def test_residuals_bound_the_errors_of_rough_values() -> None:
    rough = landscape.run(Eig(k=1, by="class", tol=0.3), population_objective())
    for label in range(CLASSES):
        exact = torch.linalg.eigvalsh(dense_of_class(label))
        distance = float((exact - rough.population_eigenvalue[label]).abs().min())
        assert 1e-9 < distance <= rough.population_residual[label]


def test_forms_along_eigenvectors_are_those_of_dense_matrices_and_add_up(
    result: landscape.analyses.eig.EigResult,
) -> None:
    vectors = torch.from_numpy(result.vectors)
    for label in range(CLASSES):
        within = (vectors.T @ dense_of_class(label) @ vectors).numpy()
        np.testing.assert_allclose(result.population_along[label], np.diag(within), atol=1e-10)
    total = result.population_share @ result.population_along
    np.testing.assert_allclose(total, result.eigenvalues[: len(total)], rtol=1e-7)


def test_cosines_of_curvature_are_those_of_matrices_in_the_span(result: landscape.analyses.eig.EigResult) -> None:
    vectors = torch.from_numpy(result.vectors)
    inside = [(vectors.T @ dense_of_class(label) @ vectors).numpy().ravel() for label in range(CLASSES)]
    norms = [np.linalg.norm(one) for one in inside]
    unit = np.array([one / norm for one, norm in zip(inside, norms, strict=True)])
    np.testing.assert_allclose(result.curvature_cosine, unit @ unit.T, atol=1e-8)


def test_weight_decay_belongs_to_no_population() -> None:
    plain = landscape.run(Eig(k=2, by="class", tol=1e-8), population_objective())
    decayed = landscape.run(Eig(k=2, by="class", tol=1e-8), population_objective(weight_decay=0.3))
    np.testing.assert_allclose(decayed.eigenvalues, plain.eigenvalues + 0.3, rtol=1e-6)
    np.testing.assert_allclose(decayed.population_eigenvalue, plain.population_eigenvalue, rtol=1e-6)


@pytest.mark.parametrize("operator", ["ggn", "pyhessian", "empirical-fisher"])
def test_other_matrices_are_taken_apart_too(operator: OperatorName) -> None:
    result = landscape.run(Eig(k=3, by="class", operator=operator, tol=1e-8), population_objective())
    total = result.population_share @ result.population_along
    np.testing.assert_allclose(total, result.eigenvalues[: len(total)], rtol=1e-6)


def test_populations_that_do_not_converge_make_the_result_inconclusive() -> None:
    result = landscape.run(Eig(k=1, by="class", tol=1e-12, max_products=3), population_objective())
    assert not result.population_converged.all()
    trouble = result.trouble()
    assert trouble is not None


def test_the_sharpest_population_and_conflicts_are_said(result: landscape.analyses.eig.EigResult) -> None:
    remarks = " ".join(result.remarks())
    sharpest = result.population[int(np.argmax(result.population_eigenvalue))]
    assert f"the sharpest population is {sharpest}" in remarks
    assert "gradients conflict in" in remarks
    parts = result.population_share * result.population_along[:, 0] / result.eigenvalues[0]
    first = result.population[int(np.argmax(parts))]
    assert f"lambda_1 is made by {first} {100 * parts.max():.2g} %" in remarks
    assert parts.sum() == pytest.approx(1, rel=1e-3)


def test_a_loss_that_depends_on_its_batch_is_not_taken_apart() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).train()
    objective = Objective(net, pairs(), "cross_entropy", mode="train")
    with pytest.raises(landscape.errors.TaskError, match="a part of the samples would cut batches"):
        landscape.run(Eig(k=1, by="class"), objective)


@pytest.mark.parametrize(("k", "products", "ranks"), [(5, 21, 3), (5, 31, 5), (1, 10, 1), (5, 9, 1)])
def test_half_of_the_products_pay_for_ranks_and_search(k: int, products: int, ranks: int) -> None:
    assert count_ranks(k, products) == ranks


def test_populations_that_are_named_and_not_measured_are_said() -> None:
    result = landscape.run(Eig(k=1, population="rare=data.py:rare"), population_objective())
    assert "are measured with --by population" in " ".join(result.notes)
    assert result.population is None
