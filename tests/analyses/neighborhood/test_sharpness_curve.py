"""Curves around one radius: closed forms, the unchanged numbers at that radius, resuming, batches and odd cases."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, drained, equal
from conftest import tanh_net
from oracles.trust_region import largest
from torch import Tensor

import landscape
from landscape import Objective, Sharpness
from landscape.analyses.neighborhood.ball_objective import BallObjective
from landscape.analyses.neighborhood.search_state import BallSearch, curve_order
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.analyses.neighborhood.worst_case import maximize_in_balls
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]
Quadratic = tuple[Objective, np.ndarray, np.ndarray]
WORK = "gradients", "cost_gradients"
FEW: dict[str, Any] = {"starts": 3, "steps": 4, "draws": 18}


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


class TestCurve(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Sharpness:
        return Sharpness(curve=(0.05, 0.1, 0.4), m=10, per_layer=True, **FEW)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def test_radii_are_followed_down_from_the_head_and_then_up() -> None:
    search = BallSearch("l2", (0.3, 0.4), 5, 20, None, 0, curve=(0.1, 0.2, 0.8, 1.6))
    assert search.order == (0.3, 0.4, 0.2, 0.1, 0.8, 1.6)
    assert [search.follows(index) for index in range(6)] == [False, False, True, True, True, True]
    assert [search.leaves_head(index) for index in range(2, 6)] == [True, False, True, False]
    assert curve_order((), 1.0) == ()


def test_rises_of_a_quadratic_are_exact_at_every_radius(quadratic: Quadratic) -> None:
    objective, gradient, hessian = quadratic
    result = measured(objective, adaptive="none", rho=0.1, curve=(0.01, 0.05, 0.2, 1.0), steps=60, draws=20)
    assert result.radius is not None
    assert result.radius_s_max is not None
    assert result.radius.tolist() == [0.01, 0.05, 0.1, 0.2, 1.0]
    exact = [largest(gradient, hessian, rho) for rho in result.radius]
    assert result.radius_s_max == pytest.approx(exact, rel=1e-3)  # after the few steps of a followed radius
    # the control variate holds all of a quadratic: its mean is exact after any draws
    assert result.radius_s_avg == pytest.approx(result.radius**2 / 2 * np.trace(hessian), rel=1e-8)


@pytest.mark.parametrize("options", [{}, {"norm": "linf"}, {"m": 7}], ids=["l2", "linf", "batches"])
def test_numbers_at_the_radius_are_those_without_a_curve(options: dict[str, Any], classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    options |= FEW | {"per_layer": True}
    (rho,) = Sharpness(**options).protocol.rho
    alone, curved = measured(objective, **options), measured(objective, **options, curve=(rho / 2, 2 * rho))
    for field in fields(SharpnessResult):
        if not field.name.startswith("radius") and field.name not in ("checks", "attributes", *WORK):
            assert equal(getattr(alone, field.name), getattr(curved, field.name)), field.name
    assert alone.radius is None
    assert all(getattr(curved, name) > getattr(alone, name) for name in WORK)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_followed_rises_are_those_of_a_search_of_their_own(norm: Any, classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    (rho,) = Sharpness(norm=norm).protocol.rho
    radii = (rho / 4, rho / 2, 2 * rho)
    curved = measured(objective, norm=norm, curve=radii, draws=16)
    searched = measured(objective, norm=norm, rho=radii, draws=16)
    others = np.isin(curved.radius, radii)
    assert curved.radius_s_max is not None
    assert curved.radius_s_avg is not None
    assert curved.radius_s_max[others] == pytest.approx(searched.s_max, rel=0.02)
    assert curved.radius_s_avg[others] == pytest.approx(searched.s_avg, rel=1e-9)  # the same draws
    assert (np.diff(curved.radius_s_max) > 0).all()


def test_a_larger_radius_begins_at_the_maximum_of_the_smaller_one_as_it_is(
    classification: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hill whose only top lies at the head: no point of a larger sphere is as high, and one step finds no other."""
    monkeypatch.setattr("landscape.analyses.neighborhood.worst_case.FOLLOWING_STEPS", 1)
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    top = torch.zeros(objective.space.size, dtype=torch.float64)
    top[0] = 0.1

    def hill(part: Objective) -> BallObjective:
        def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
            apart = rows - top
            return -(apart**2).sum(dim=1).numpy(), -2 * apart

        return BallObjective(-0.01, lambda: 2 * top, evaluate, 1)

    search = BallSearch("l2", (0.1,), 2, 1, None, 0, curve=(0.05, 0.5, 5.0))
    _, maxima = drained(maximize_in_balls(objective, torch.ones_like(top), hill, search, (), {}))
    assert maxima.largest()[0] == pytest.approx([0.01, 0.0075, 0.01, 0.01])  # at 0.1, 0.05, 0.5 and 5
    assert maxima.rises[0, 2:, 1].max() < 0  # along the gradient of the larger spheres


def test_either_case_may_be_left_out(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    worst = measured(objective, starts=1, steps=3, draws=0, curve=(0.1,))
    assert worst.radius_s_max is not None
    assert worst.radius_s_avg is None
    assert worst.start_rises is not None
    assert worst.start_rises.shape == (1, 1)  # the start of the measured radius alone
    average = measured(objective, starts=0, draws=4, curve=(0.1,))
    assert average.radius_s_max is None
    assert average.radius_s_avg is not None
    assert average.radius_s_avg.shape == (2,)


def test_few_draws_are_not_more_on_the_curve_and_many_are_16(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    for draws, same in ((16, 16), (40, 16), (5, 5)):
        curved = measured(objective, starts=0, draws=draws, curve=(0.1,))
        alone = measured(objective, starts=0, draws=same, rho=0.1)
        assert curved.radius_s_avg is not None
        assert curved.radius_s_avg_se is not None
        assert curved.radius_s_avg[0] == pytest.approx(alone.s_avg[0], rel=1e-9)
        assert curved.radius_s_avg_se[0] == pytest.approx(alone.s_avg_se[0], rel=1e-6)


def test_a_higher_rise_in_a_smaller_ball_is_said(classification: Data) -> None:
    result = measured(Objective(tanh_net(), [classification], "cross_entropy"), curve=(0.1, 0.4), **FEW)
    assert not any("in a smaller ball" in remark for remark in result.remarks())
    assert result.s_max is not None
    assert result.radius_s_max is not None
    higher = replace(result, radius_s_max=np.array([2 * result.s_max[0], *result.radius_s_max[1:]]))
    (remark,) = [remark for remark in higher.remarks() if "in a smaller ball" in remark]
    assert remark.startswith(f"s_max at rho 0.2 is at least {2 * result.s_max[0]:.4g}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curve": (0.1, -1.0)}, "--curve is -1"),
        ({"curve": 0.1, "rho": (0.2, 0.4)}, "--curve surrounds one --rho"),
        ({"curve": 0.1, "rho": 0.2, "average_rho": 0.1}, "--curve surrounds one --rho"),
        ({"curve": 0.1, "preset": "andriushchenko"}, "--curve surrounds one --rho"),
    ],
)
def test_curves_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sharpness(**options)


def test_the_radii_of_a_curve_are_sorted_and_do_not_repeat_the_measured_one() -> None:
    assert Sharpness(curve=(0.4, 0.2, 0.1, 0.4)).curve == (0.1, 0.4)
    assert Sharpness(curve=0.1).curve == (0.1,)  # type: ignore[arg-type]
