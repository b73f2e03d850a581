"""The errors by drawn labels: against the matrix that labels estimate, and where no labels are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from scipy.stats import t as student
from torch import Tensor

import landscape
from landscape import Density, Eig, Objective, Trace
from landscape.analyses.shared.label_noise import label_standard_errors, trace_label_error
from landscape.operators import EmpiricalFisherOperator, FisherOperator, GaussNewtonOperator

Data = tuple[Tensor, Tensor]


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")


@pytest.mark.parametrize("labels", [1, 3])
def test_intervals_of_the_trace_cover_the_matrix_of_all_labels(objective: Objective, labels: int) -> None:
    """The Gauss-Newton matrix is the Fisher matrix in expectation; 95 % of 60 are 57 +- 1.7."""
    exact = float(GaussNewtonOperator(objective).to_dense().trace())
    hits = 0
    for seed in range(60):
        result = landscape.run(Trace(operator="fisher", labels=labels, seed=seed, rtol=0.05), objective)
        low, high = result.interval
        assert 0 < result.label_standard_error <= result.standard_error
        assert result.trouble() is None  # more products would not narrow it
        hits += low <= exact <= high
    assert hits >= 57 - 3 * 1.7
    assert "by the labels drawn" in result.remarks()[1]


def test_the_interval_holds_both_errors(objective: Objective) -> None:
    result = landscape.run(Trace(operator="fisher", method="hutchinson", max_products=20), objective)
    vectors, labels = result.estimator_standard_error[0], result.label_standard_error
    half = np.ptp(result.interval) / 2
    assert vectors > 0
    assert result.standard_error == pytest.approx(np.hypot(vectors, labels))
    assert half == pytest.approx(np.hypot(student.ppf(0.975, 9) * vectors, 1.96 * labels))


def test_errors_of_quadratic_forms_cover_the_matrix_of_all_labels(objective: Objective) -> None:
    vector = torch.randn(39, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = float(vector[:, 0] @ (GaussNewtonOperator(objective) @ vector[:, 0]))
    scores = []
    for seed in range(100):
        fisher = FisherOperator(objective, seed=seed, labels=2)
        errors = label_standard_errors(fisher, vector.numpy())
        assert errors is not None
        scores.append((float(vector[:, 0] @ (fisher @ vector[:, 0])) - exact) / errors[0])
    assert np.mean(np.abs(scores) < 1.96) > 0.87
    assert abs(np.mean(scores)) < 0.4


def test_eigenvalues_and_densities_state_the_noise_of_their_labels(objective: Objective) -> None:
    eig = landscape.run(Eig(operator="fisher", k=2), objective)
    fisher = FisherOperator(objective)
    assert eig.label_standard_errors == pytest.approx(label_standard_errors(fisher, eig.vectors))
    assert "by the labels drawn, which error bounds do not contain" in eig.remarks()[0]
    density = landscape.run(Density(operator="fisher", steps=20), objective)
    assert density.label_standard_error == trace_label_error(Density(operator="fisher"), fisher)
    assert density.trace_se > density.label_standard_error > 0
    assert any("labels were drawn" in remark for remark in density.remarks())


def test_a_matrix_without_drawn_labels_has_no_such_error(objective: Objective) -> None:
    operator, block = EmpiricalFisherOperator(objective), np.ones((39, 1))
    assert label_standard_errors(operator, block) is None
    assert trace_label_error(Trace(operator="empirical-fisher"), operator) is None
    assert landscape.run(Trace(rtol=0.5), objective).label_standard_error is None
    assert landscape.run(Eig(k=1), objective).label_standard_errors is None
