"""H - D G D against dense matrices."""

from __future__ import annotations

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor

from landscape import Objective
from landscape.operators import GaussNewtonOperator, HessianOperator
from landscape.operators.rest import RestOperator


@pytest.mark.parametrize("names", [("0.weight", "0.bias", "2.weight", "2.bias"), ("0.bias", "2.weight"), ()])
def test_the_rest_is_the_hessian_without_known_blocks(
    classification: tuple[Tensor, Tensor], split: Splitter, names: tuple[str, ...]
) -> None:
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    hessian, gauss_newton = HessianOperator(objective), GaussNewtonOperator(objective)
    rest = RestOperator(hessian, gauss_newton, objective.space, names)
    inside = torch.cat([torch.full((block.size,), float(block.name in names)) for block in objective.space.blocks])
    known = gauss_newton.to_dense() * inside * inside[:, None]
    torch.testing.assert_close(rest.to_dense(), hessian.to_dense() - known, rtol=1e-12, atol=1e-12)
    vectors = torch.eye(rest.size, dtype=torch.float64)[:, :3]
    torch.testing.assert_close(rest.product_of_part(vectors), known[:, :3], rtol=1e-12, atol=1e-12)
