"""Diagonal blocks against the dense matrix with everything else set to zero."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from conftest import Splitter, tanh_net
from operator_contract import OperatorContract
from oracles.dense import dense_hessian
from torch import Tensor, nn

from landscape import Objective
from landscape.network.space import ParameterGroup
from landscape.operators import GaussNewtonOperator, HessianOperator, LinearOperator, PreconditionedOperator
from landscape.operators.base import BlockDiagonalOperator
from landscape.operators.block_diagonal import BlockDiagonalHessian

Data = tuple[Tensor, Tensor]


def masked(dense: Tensor, groups: tuple[ParameterGroup, ...]) -> Tensor:
    kept = torch.zeros_like(dense)
    for group in groups:
        place = torch.cat([torch.arange(begin, end) for begin, end in group.ranges])
        kept[place[:, None], place] = dense[place[:, None], place]
    return kept


class Contract(OperatorContract):
    @pytest.fixture
    def objective(self, classification: Data, split: Splitter) -> Objective:
        return Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")

    @pytest.fixture(params=["layers", "globs", "scattered"])
    def groups(self, objective: Objective, request: pytest.FixtureRequest) -> tuple[ParameterGroup, ...]:
        globs = {"globs": ("0.weight", "2.*"), "scattered": ("*.weight", "2.bias")}
        chosen = globs.get(request.param)
        return objective.space.groups_matching(chosen) if chosen else objective.space.layers()

    @pytest.fixture
    def dense(self, classification: Data, groups: tuple[ParameterGroup, ...]) -> Tensor:
        return masked(dense_hessian(tanh_net(), [classification]), groups)


class TestBlockDiagonalHessian(Contract):
    @pytest.fixture
    def operator(self, objective: Objective, groups: tuple[ParameterGroup, ...]) -> LinearOperator:
        operator = HessianOperator(objective).block_diagonal(groups)
        assert isinstance(operator, BlockDiagonalHessian)
        return operator


class TestBlockDiagonalOperator(Contract):
    @pytest.fixture
    def operator(self, objective: Objective, groups: tuple[ParameterGroup, ...]) -> LinearOperator:
        return BlockDiagonalOperator(HessianOperator(objective), groups)


class TestBlockDiagonalOperatorInChunks(Contract):
    @pytest.fixture
    def operator(
        self, objective: Objective, groups: tuple[ParameterGroup, ...], monkeypatch: pytest.MonkeyPatch
    ) -> LinearOperator:
        monkeypatch.setattr("landscape.operators.base.WIDE_BYTES", 1)
        return BlockDiagonalOperator(HessianOperator(objective), groups)


CUTS = (5, 11, 20)


def exact_quadratics(data: Data, groups: tuple[ParameterGroup, ...], block: Tensor) -> Tensor:
    """The quadratic forms of each group's part of the columns, by groups of samples and dense matrices: `(G, L, K)`."""
    ends = (0, *CUTS, len(data[0]))
    rows = []
    for first, end in pairwise(ends):
        dense = (end - first) * dense_hessian(tanh_net(), [(data[0][first:end], data[1][first:end])])
        parts = [torch.cat([torch.arange(begin, end) for begin, end in group.ranges]) for group in groups]
        rows.append(torch.stack([((dense[p][:, p] @ block[p]) * block[p]).sum(dim=0) for p in parts]))
    return torch.stack(rows)


@pytest.mark.parametrize("short", [True, False], ids=["short-passes", "products"])
def test_quadratic_forms_of_blocks_are_those_of_dense_ones(
    short: bool, classification: Data, split: Splitter, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    monkeypatch.setattr("landscape.operators.block_diagonal.BlockDiagonalHessian.is_supported", lambda self: short)
    monkeypatch.setattr("landscape.operators.base.WIDE_BYTES", 1000)
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    groups = objective.space.groups_matching(("*.weight", "2.bias"))
    block = torch.randn(objective.space.size, 3, generator=generator, dtype=torch.float64)
    sums, counts = HessianOperator(objective).block_quadratics(groups, block, CUTS)
    assert torch.allclose(sums, exact_quadratics(classification, groups, block), rtol=1e-10)
    assert counts.tolist() == [5, 6, 9, 4]


def test_quadratic_forms_of_other_groups_or_of_none_are_refused(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    groups, block = objective.space.layers(), objective.theta[:, None]
    with pytest.raises(ValueError, match="other groups"):
        BlockDiagonalHessian(objective, groups).block_quadratics(groups[:1], block, ())
    with pytest.raises(ValueError, match="no groups"):
        GaussNewtonOperator(objective).block_quadratics((), block, ())


def test_other_operators_have_blocks_too(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    ggn, groups = GaussNewtonOperator(objective), objective.space.layers()
    blocks = ggn.block_diagonal(groups)
    assert isinstance(blocks, BlockDiagonalOperator)
    assert torch.allclose(blocks.to_dense(), masked(ggn.to_dense(), groups), atol=1e-15)


class Odd(nn.Module):
    """A scalar parameter, an unused one, one that the loss is linear in, and a scalar that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.ones(2))
        self.shift = nn.Parameter(torch.zeros(1))
        self.layer = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.scale * self.layer(x)) * self.scale + self.shift


@pytest.mark.parametrize("loss", ["mse", lambda output, target: output.mean(dim=1)], ids=["mse", "linear"])
def test_odd_parameters_have_the_blocks_of_the_dense_matrix(loss: Any) -> None:
    x, y = torch.randn(7, 3, generator=torch.Generator().manual_seed(1)), torch.ones(7, 1)
    objective = Objective(Odd(), [(x, y)], loss, dtype="float64")
    for globs in (("scale", "unused", "shift", "layer.*"), ("scale", "layer.*")):
        groups = objective.space.groups_matching(globs)
        hessian = HessianOperator(objective)
        blocks = hessian.block_diagonal(groups)
        assert isinstance(blocks, BlockDiagonalHessian)
        assert torch.allclose(blocks.to_dense(), masked(hessian.to_dense(), groups), atol=1e-15)


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(torch.ones(3)), nn.Parameter(torch.arange(3.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.left * self.right


def test_a_gradient_that_does_not_depend_on_its_own_parameter_has_a_zero_block() -> None:
    """The gradient in one factor depends on the other alone: torch then misses the graph, and the slow way is taken."""
    objective = Objective(Bilinear(), [(torch.ones(2, 3), torch.ones(2))], lambda output, target: output.mean(dim=1))
    hessian, groups = HessianOperator(objective), objective.space.groups_matching(("left", "right"))
    blocks = hessian.block_diagonal(groups)
    assert isinstance(blocks, BlockDiagonalOperator)
    assert hessian.to_dense().any()
    assert not blocks.to_dense().any()


def test_the_preconditioned_hessian_s_blocks_take_the_short_way(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    scaled = PreconditionedOperator(HessianOperator(objective), torch.linspace(0.1, 2, 39, dtype=torch.float64))
    groups = objective.space.layers()
    blocks = scaled.block_diagonal(groups)
    assert isinstance(blocks, PreconditionedOperator)
    assert isinstance(blocks.inner, BlockDiagonalHessian)
    assert torch.allclose(blocks.to_dense(), masked(scaled.to_dense(), groups), atol=1e-14)
