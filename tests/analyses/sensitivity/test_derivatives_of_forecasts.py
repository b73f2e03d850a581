"""Forecasts with second derivatives that are not those of the gradient are inconclusive."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from conftest import tanh_net
from strangers.catalog import STRANGERS

import landscape
from landscape import Objective, Sensitivity
from landscape.operators import GaussNewtonOperator, HessianOperator


def checked(objective: Objective, **options: Any) -> Any:
    """A result of rounding to 3 bits, with what the closing check of products found."""
    result: Any = landscape.run(Sensitivity(bits=(3,), sample_groups=3, **options), objective)
    return result, next(finding for finding in result.checks if finding.check == "curvature")


@pytest.mark.parametrize(
    "name", ["custom function, saved derivative", "custom function, once only", "adjoint ODE", "own checkpointing"]
)
def test_a_wrong_second_derivative_makes_forecasts_inconclusive(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, batches, loss = STRANGERS[name].build()
        result, found = checked(Objective(model, batches, loss, device="cpu", **STRANGERS[name].options))
    assert found.verdict == "broken"
    assert "the second derivative is not that of the gradient" in str(result.trouble())


def test_forecasts_of_a_plain_net_are_checked_too() -> None:
    objective = Objective(tanh_net(), (torch.randn(9, 5), torch.arange(9) % 3), "cross_entropy")
    result, found = checked(objective)
    assert found.verdict == "holds"
    assert result.trouble() is None


def test_forecasts_of_another_matrix_take_no_product_of_the_hessian() -> None:
    objective = Objective(tanh_net(), (torch.randn(9, 5), torch.arange(9) % 3), "cross_entropy")
    assert checked(objective, operator="ggn")[1].verdict == "not run"


@pytest.mark.parametrize(("kind", "checks"), [(HessianOperator, True), (GaussNewtonOperator, False)], ids=["h", "ggn"])
def test_products_by_groups_of_samples_are_remembered(kind: Any, checks: bool) -> None:
    objective = Objective(tanh_net(), (torch.randn(9, 5), torch.arange(9) % 3), "cross_entropy")
    kind(objective).quadratics(torch.randn(objective.space.size, 2), [4])
    assert any("hessian" in key.operator for key in objective.strategies.chosen) is checks
    assert objective.strategies.chosen
