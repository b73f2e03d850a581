"""A scaled operator is C A C, and hands on what A can do."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from operator_contract import OperatorContract
from oracles.dense import dense_hessian
from torch import Tensor

from landscape import Objective
from landscape.compute.strategy import Strategy
from landscape.operators import HessianOperator, ScaledOperator

Data = tuple[Tensor, Tensor]
SCALE = torch.linspace(0, 2, 39, dtype=torch.float64)


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")


class TestScaled(OperatorContract):
    @pytest.fixture
    def operator(self, objective: Objective) -> ScaledOperator:
        return ScaledOperator(HessianOperator(objective), SCALE.to(objective.theta))

    @pytest.fixture
    def dense(self, classification: Data) -> Tensor:
        return SCALE[:, None] * dense_hessian(tanh_net(), [classification]) * SCALE


def test_its_blocks_are_the_scaled_blocks(objective: Objective) -> None:
    groups = objective.space.layers()
    scaled = ScaledOperator(HessianOperator(objective), SCALE)
    blocks = HessianOperator(objective).block_diagonal(groups).to_dense()
    expected = SCALE[:, None] * blocks * SCALE
    assert torch.allclose(scaled.block_diagonal(groups).to_dense(), expected, rtol=0, atol=1e-14)


def test_the_quadratic_forms_of_all_groups_add_to_that_of_the_matrix(objective: Objective) -> None:
    scaled = ScaledOperator(HessianOperator(objective), SCALE)
    block = torch.randn(39, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sums, counts = scaled.quadratics(block, [5, 12])
    assert counts.tolist() == [5, 7, 12]
    assert torch.allclose(sums.sum(dim=0) / 24, (block * (scaled @ block)).sum(dim=0), rtol=1e-10)


def test_strategies_are_those_of_the_inner_operator(objective: Objective) -> None:
    inner = HessianOperator(objective)
    scaled = ScaledOperator(inner, SCALE)
    assert scaled.strategy(1) is None
    scaled @ SCALE
    assert scaled.strategy(1) == inner.strategy(1) == Strategy()
    assert scaled.strategy_bytes(1, Strategy()) == inner.strategy_bytes(1, Strategy())
