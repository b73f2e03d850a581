"""A matrix on some of the samples: the laws of operators, and the matrix of an objective over these samples alone."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from operator_contract import OperatorContract
from oracles.dense import dense_hessian
from torch import Tensor

from landscape import Objective
from landscape.operators import FisherOperator, HessianOperator, LinearOperator, ScaledOperator

Data = tuple[Tensor, Tensor]
BATCHES = [slice(0, 7), slice(7, 9), slice(9, 24)]


@pytest.fixture
def objective(classification: Data) -> Objective:
    x, y = classification
    return Objective(tanh_net(), [(x[part], y[part]) for part in BATCHES], "cross_entropy", dtype="float64")


class TestSampleRange(OperatorContract):
    @pytest.fixture
    def operator(self, objective: Objective) -> LinearOperator:
        return HessianOperator(objective).on_samples(5, 12)

    @pytest.fixture
    def dense(self, classification: Data) -> Tensor:
        x, y = classification
        return dense_hessian(tanh_net(), [(x[5:12], y[5:12])])


def test_ranges_weighted_by_their_counts_add_to_the_matrix_of_targets_that_count(classification: Data) -> None:
    x, y = classification
    y = y.clone()
    y[3:9] = -100
    objective = Objective(tanh_net(), [(x, y)], "cross_entropy", dtype="float64")
    whole = HessianOperator(objective)
    parts = [whole.on_samples(*ends).to_dense() for ends in ((0, 4), (4, 9), (9, 24))]
    assert not parts[1].any()  # without targets that count
    assert torch.allclose(3 / 18 * parts[0] + 15 / 18 * parts[2], whole.to_dense(), rtol=0, atol=1e-14)


def test_drawn_labels_stay_those_of_their_samples(objective: Objective) -> None:
    fisher = FisherOperator(objective, seed=3)
    parts = [fisher.on_samples(*ends).to_dense() for ends in ((0, 12), (12, 24))]
    assert torch.allclose((parts[0] + parts[1]) / 2, fisher.to_dense(), rtol=0, atol=1e-14)


def test_the_scaled_matrix_is_scaled_on_its_samples(objective: Objective) -> None:
    scale = torch.arange(1.0, 40.0, dtype=torch.float64)
    inner = HessianOperator(objective)
    expected = scale[:, None] * inner.on_samples(2, 11).to_dense() * scale
    assert torch.allclose(ScaledOperator(inner, scale).on_samples(2, 11).to_dense(), expected, rtol=1e-12, atol=1e-13)
