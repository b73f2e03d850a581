"""The trouble and the remarks of a sharpness result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor

import landscape
from landscape import Objective, Sharpness
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


def test_a_loss_that_overflows_within_the_radius_is_inconclusive(classification: Data) -> None:
    def exploding(output: Tensor, target: Tensor) -> Tensor:
        return torch.exp(40 * output.square().sum(dim=1))

    objective = Objective(tanh_net(), [classification], exploding)
    result = measured(objective, adaptive="none", rho=(3.0,), draws=4)
    assert "not finite within rho = 3" in str(result.trouble())
    assert "smaller --rho" in result.trouble().fix


def curve(**changes: Any) -> SharpnessResult:
    """Both rises at two radii, without anything to remark on."""
    values: dict[str, Any] = {
        "rho": np.array([0.1, 0.2]),
        "s_max": np.array([1.0, 4.0]),
        "starts": np.array([3, 3]),
        "hits": np.array([3, 2]),
        "stationarity": np.array([0.0, 0.01]),
        "mode": np.array(["unique", "multimodal"]),
        "average_rho": np.array([0.01, 0.02]),
        "s_avg": np.array([0.5, 2.0]),
        "s_avg_interval": np.array([[0.4, 0.6], [1.8, 2.2]]),
        "resolved": np.array([True, True]),
        "loss": 1.0,
        "gradient_norm": 1.0,
        "rounding": 1e-6,
        "gradients": 60,
        "draws": 20,
        "steps": 10,
        "m": 8,
        "parameters": 5,
        "samples": 8,
    }
    return SharpnessResult(**{**values, **changes})


def test_a_result_that_is_as_asked_has_neither_trouble_nor_remarks() -> None:
    assert curve().trouble() is None
    assert curve().remarks() == []
    assert curve(rtol=0.25).trouble() is None


def test_an_interval_that_is_too_wide_is_unfinished_and_tells_the_widest() -> None:
    trouble = curve(rtol=0.15).trouble()  # the half-widths are 0.2 and 0.1 of the means
    assert trouble is not None
    assert trouble.kind == "unfinished"
    assert trouble.why == "half-width 0.2 of s_avg after 20 pairs, 0.15 was asked for"
    assert "--max-draws" in trouble.fix


@pytest.mark.parametrize(("name", "radius"), [("s_max", 0.2), ("s_avg", 0.02)])
@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_rise_that_is_not_finite_names_its_own_radius(name: str, radius: float, value: float) -> None:
    trouble = curve(**{name: np.array([1.0, value])}).trouble()
    assert trouble is not None
    assert trouble.kind == "not finite"
    assert trouble.why == f"the loss is not finite within rho = {radius:g} ({name})"


def test_maxima_found_once_or_on_a_slope_or_below_rounding_are_remarked_on() -> None:
    assert "s_max at rho 0.2 was found by one start alone" in curve(hits=np.array([3, 1])).remarks()[0]
    assert "s_max at rho 0.1 may be larger" in curve(stationarity=np.array([0.2, 0.0])).remarks()[0]
    low = curve(resolved=np.array([False, True]), smallest_rho=0.15, smallest_average_rho=0.012).remarks()[0]
    assert "at rho 0.1 the loss rises by less than 1e-06" in low
    assert "0.15 for s_max, 0.012 for s_avg" in low
    assert curve(hits=np.array([1, 1]), stationarity=np.ones(2), steps=1).remarks() == []  # one step never ends


def test_only_the_maximum_may_not_be_unique() -> None:
    result = curve()
    assert "multimodal" in result.not_unique("s_max", (1,))
    assert result.not_unique("s_max", (0,)) == ""
    assert result.not_unique("s_avg", (1,)) == ""


def test_the_rise_in_the_largest_ball_is_named_where_it_is_of_all_samples_and_beyond_rounding() -> None:
    assert curve().meaning() == (
        "some weights in the ball of rho = 0.2 have a loss that is higher by at least 4 (400 % of it); noise of size "
        "0.02 on every weight raises it by 2 on average"
    )
    assert "on every weight, which leads further, raises it" in curve(parameters=400).meaning()
    unsure = curve(s_avg_interval=np.array([[0.4, 0.6], [-0.1, 2.2]]))
    assert unsure.meaning().endswith("(400 % of it)")
    for doubt in ({"m": 4}, {"resolved": np.array([True, False])}, {"normalised_loss": 1.0}, {"s_max": None}):
        assert curve(**doubt).meaning() == ""
