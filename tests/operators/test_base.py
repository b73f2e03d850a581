"""What every operator has by itself: block diagonals of any matrix, and refusals of what only some can do."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from conftest import tanh_net
from oracles.dense import symmetric
from torch import Tensor

from landscape import Objective
from landscape.choices import OperatorName
from landscape.compute.strategy import ProductSettings, Strategy
from landscape.errors import UsageError
from landscape.network.space import ParameterBlock, ParameterSpace
from landscape.operators import OPERATORS, HessianOperator, LinearOperator, PyHessianOperator, operator

Data = tuple[Tensor, Tensor]


def test_the_names_of_operators_are_the_choices_of_the_option() -> None:
    assert set(OPERATORS) == set(get_args(OperatorName))


def test_each_name_builds_its_operator(classification: Data) -> None:
    diagonal = {name: torch.ones(p.shape) for name, p in tanh_net().named_parameters()}
    objective = Objective(tanh_net(), [classification], "cross_entropy", preconditioner=diagonal)
    for name in get_args(OperatorName):
        built = operator(name, objective)
        assert isinstance(built, LinearOperator)
        assert getattr(built, "name", name) == name


def test_any_matrix_has_its_block_diagonal() -> None:
    blocks = (ParameterBlock("a.w", (2, 2)), ParameterBlock("b.w", (3,)), ParameterBlock("a.b", (2,)))
    groups = ParameterSpace(blocks).layers()
    full = symmetric(range(1, 10))
    dense = full.block_diagonal(groups).to_dense()
    a, b = [0, 1, 2, 3, 7, 8], [4, 5, 6]
    for rows, columns in ((a, a), (b, b)):
        assert torch.allclose(dense[rows][:, columns], full.matrix[rows][:, columns])
    assert not dense[a][:, b].any()


def test_a_matrix_alone_is_no_sum_over_samples_and_has_no_strategies() -> None:
    matrix = symmetric([1.0, 2.0])
    assert not matrix.additive
    assert matrix.strategy(1) is None
    with pytest.raises(UsageError, match="MatrixOperator is not a sum over samples") as error:
        matrix.quadratics(torch.ones(2, 1), [1])
    assert error.value.fix == "--operator hessian"
    with pytest.raises(UsageError, match="MatrixOperator is not a sum over samples"):
        matrix.on_samples(0, 1)
    with pytest.raises(UsageError, match="no strategies to choose from"):
        matrix.strategy_bytes(1, Strategy())


def test_pyhessian_cannot_be_taken_apart_and_the_hessian_can(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    assert not PyHessianOperator(objective).additive
    assert HessianOperator(objective).additive


def test_only_the_hessian_is_traced(classification: Data) -> None:
    settings = ProductSettings("linearize")
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=settings)
    with pytest.raises(UsageError, match="not of --operator ggn"):
        operator("ggn", objective)
