"""The options of flatness, its contract as an analysis, and remarks and troubles of its result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import SAMPLES, tanh_net
from torch import Tensor

import landscape
from landscape import Flatness, Objective
from landscape.analyses.neighborhood.flatness import FlatnessResult
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class TestFlatness(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Flatness:
        return Flatness(rho=(0.1, 0.3), starts=5, steps=4, per_layer=True)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def measured(objective: Objective, **options: Any) -> FlatnessResult:
    result: FlatnessResult = landscape.run(Flatness(**options), objective)
    return result


def test_a_radius_below_what_float32_can_tell_is_said(classification: Data) -> None:
    result = measured(Objective(tanh_net(), [classification], "cross_entropy"), rho=(1e-8, 0.1), starts=3)
    assert result.resolved.tolist() == [False, True]
    assert "smallest rho to trust" in result.remarks()[0]


def test_a_gradient_that_overflows_is_inconclusive(classification: Data) -> None:
    def exploding(output: Tensor, target: Tensor) -> Tensor:
        return torch.exp(40 * output.square().sum(dim=1))

    result = measured(Objective(tanh_net(), [classification], exploding), rho=(3.0,), starts=2)
    assert "not finite within rho = 3" in str(result.trouble())


def test_radii_must_be_positive() -> None:
    with pytest.raises(UsageError, match="--rho is 0"):
        Flatness(rho=(0.0,))
    assert Flatness(rho=(0.2, 0.1)).radii == (0.1, 0.2)


def test_ascents_that_ran_out_of_steps_are_told() -> None:
    result = measured(landscape.load(SAMPLES / "digits-noisy.pt", limit=50), rho=1.0, steps=2, starts=2)
    assert any("ended on a slope" in remark for remark in result.remarks())


def test_the_gradient_in_the_largest_ball_is_named_where_it_is_beyond_rounding(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = measured(objective, rho=(0.1,), starts=2, steps=3)
    largest = float(result.r1[0] / 0.1)
    assert result.meaning() == (
        f"somewhere in the ball of rho = 0.1 the norm of the gradient is at least {largest:.3g}, "
        f"{largest / result.scaled_gradient:.3g} times that at the weights"
    )
    assert "times" not in replace(result, scaled_gradient=0.0).meaning()
    assert replace(result, resolved=~result.resolved).meaning() == ""
    assert replace(result, normalised_loss=1.0).meaning() == ""
    element = measured(objective, rho=(0.1,), starts=2, steps=3, adaptive="element")
    assert "norm of the scaled gradient" in element.meaning()
