"""The weighted trace of one layer's Hessian, against its definition as a sum over pairs of rows."""

from __future__ import annotations

import pytest
import torch
from oracles.dense import MatrixOperator, symmetric
from torch import Tensor

from landscape.network.filters import FilterAxis
from landscape.network.space import ParameterBlock, ParameterGroup, ParameterSpace
from landscape.operators.weighted_rows import WeightedRowsOperator

BLOCKS = (ParameterBlock("bias", (4,)), ParameterBlock("wide.weight", (3, 5)), ParameterBlock("tall.weight", (5, 3)))
SPACE = ParameterSpace(BLOCKS)
FULL = symmetric(torch.linspace(-1, 3, 34).tolist())


def case(name: str) -> tuple[WeightedRowsOperator, Tensor, ParameterGroup]:
    (group,) = SPACE.groups_matching([name])
    shape = next(block.shape for block in SPACE.blocks if block.name == name)
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return WeightedRowsOperator(FULL, group, weight, FilterAxis(0)), weight, group


@pytest.mark.parametrize("name", ["wide.weight", "tall.weight"])
def test_its_trace_is_the_sum_over_pairs_of_rows(name: str) -> None:
    """sum_{s,s'} <w_s, w_s'> tr H_{s,s'} (Petzka et al. 2021, definition 3)."""
    operator, weight, group = case(name)
    begin, end = group.ranges[0]
    rows, width = weight.shape
    blocks = FULL.matrix[begin:end, begin:end].view(rows, width, rows, width)
    traces = torch.einsum("sjtj->st", blocks)
    expected = float((weight @ weight.T * traces).sum())
    assert float(operator.to_dense().trace()) == pytest.approx(expected, rel=1e-10)


def test_the_narrower_factor_is_taken() -> None:
    assert case("wide.weight")[0].size == 3 * 5  # (W W')^1/2 is 3 x 3, W is 3 x 5
    assert case("tall.weight")[0].size == 3 * 3  # W itself is 5 x 3


@pytest.mark.parametrize("name", ["wide.weight", "tall.weight"])
def test_it_is_the_full_matrix_between_weighted_rows(name: str) -> None:
    """(F x I)' H (F x I), with F = W or (W W')^1/2."""
    operator, weight, group = case(name)
    begin, end = group.ranges[0]
    factor = torch.kron(operator.factor, torch.eye(weight.shape[1], dtype=torch.float64))
    assert torch.allclose(operator.factor @ operator.factor.T, weight @ weight.T, atol=1e-12)
    assert torch.allclose(operator.to_dense(), factor.T @ FULL.matrix[begin:end, begin:end] @ factor, atol=1e-12)


def test_the_full_matrix_is_multiplied_once_for_each_column() -> None:
    inner = MatrixOperator(FULL.matrix)
    (group,) = SPACE.groups_matching(["tall.weight"])
    weight = torch.ones(5, 3, dtype=torch.float64)
    operator = WeightedRowsOperator(inner, group, weight, FilterAxis(0))
    operator @ torch.ones(operator.size, 2, dtype=torch.float64)
    assert inner.columns == 2
