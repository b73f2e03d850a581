"""What a critical step says of itself: a bound, no descent, rounding, and where the loss ends to be finite."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from landscape.analyses.critical.result import CriticalResult


@pytest.fixture
def result() -> CriticalResult:
    """A critical step of 1 in a narrow bracket."""
    return CriticalResult(
        critical_step=1.0, critical_step_se=0.1, critical_sharpness=2.0, critical_sharpness_se=0.2,
        interval=np.array([0.8, 1.2]), bracket=np.array([0.99, 1.01]), tol=0.05, passes=6, slope=-2.0, update_norm=1.0,
        relative_step=0.1, largest_drop=0.5, rounding=1e-6, loss=1.0, gradient_norm=1.4, parameters=10, samples=5,
        point_step=np.array([0.5, 0.99, 1.01]), point_change=np.array([-0.5, -0.02, 0.02]),
        point_change_error=np.array([0.1, 0.2, 0.2]),
    )  # fmt: skip


def unknown(result: CriticalResult, lower: float, upper: float, **changes: Any) -> CriticalResult:
    """The same without a critical step."""
    nothing = {"critical_step": math.nan, "critical_sharpness": math.nan, "bracket": np.array([lower, upper])}
    return replace(result, **nothing, **changes)


def why(result: CriticalResult) -> str:
    """The reason why a result is inconclusive."""
    trouble = result.trouble()
    assert trouble is not None
    return trouble.why


def test_a_narrow_bracket_is_conclusive(result: CriticalResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == ["95 % interval of the critical step by the choice of the samples: 0.8 to 1.2"]


def test_a_wide_bracket_is_named(result: CriticalResult) -> None:
    wide = replace(result, bracket=np.array([0.5, 1.01]), passes=4)
    assert why(wide) == "the critical step lies between 0.5 and 1.01 after 4 passes"


def test_a_drop_within_rounding_is_named(result: CriticalResult) -> None:
    assert why(replace(result, largest_drop=1e-8)).startswith("the loss drops by 1e-08 at most, which is not clearly")


def test_a_loss_that_never_rises_is_a_bound(result: CriticalResult) -> None:
    found = why(unknown(result, 8.0, math.inf))
    assert found.startswith("the loss is still below that at the weights after a step of 8, which is a lower bound")
    assert found.endswith("critical sharpness below 0.25")


def test_an_update_that_leads_upwards_is_named(result: CriticalResult) -> None:
    assert why(unknown(result, 0.0, 1e-3, slope=2.0)).startswith("the update leads upwards: the derivative of the loss")


def test_a_loss_that_rises_at_once_is_named(result: CriticalResult) -> None:
    rising = unknown(result, 0.0, 1e-3, slope=None)
    assert why(rising) == "the loss is nowhere below that at the weights, down to a step of 0.001"
    hidden = replace(rising, point_change=np.array([1e-9, 1.0, 2.0]))
    assert "its change of 1e-09 is not clearly more than rounding" in why(hidden)
    trouble = hidden.trouble()
    assert trouble
    assert trouble.fix == "--dtype float64"


def test_a_loss_that_is_not_finite_beyond_is_named(result: CriticalResult) -> None:
    trouble = unknown(result, 0.99, 1.01).trouble()
    assert trouble
    assert trouble.kind == "not finite"
    assert "below that at the weights at a step of 0.99, and not finite at 1.01" in trouble.why


def test_both_losses_are_told(result: CriticalResult) -> None:
    sentence = replace(result, other_loss=3.0, other_samples=7).remarks()[0]
    assert sentence == (
        "the update is from the data of loss 1, the loss along it from the --other-data: 3 at the weights, of 7 samples"
    )


def test_the_edge_is_told(result: CriticalResult) -> None:
    edge = replace(result, learning_rate=1.5, edge=2 / 1.5, edge_ratio=1.5)
    assert (
        edge.remarks()[-1]
        == "a step of the run is 1.5 critical steps: critical sharpness above 2 / learning rate = 1.333"
    )


def test_an_interval_that_begins_at_0_is_told(result: CriticalResult) -> None:
    sentences = replace(result, interval=np.array([0.0, math.inf])).remarks()
    assert sentences[0].endswith("0 to no upper end")
    assert sentences[1] == "other samples may have no descent along this update at all"


@pytest.mark.parametrize(("upper", "wide"), [(1.0, False), (1.06, True)], ids=["within", "beyond"])
def test_the_width_of_the_bracket_is_relative_to_its_upper_end(
    upper: float, wide: bool, result: CriticalResult
) -> None:
    """A tolerance of 0.05 of the upper end, whatever the unit of the step is."""
    for unit in (1e-6, 1.0, 1e6):
        bracket = unit * np.array([0.96 * 1.0, upper])
        scaled = replace(result, critical_step=0.98 * unit, bracket=bracket)
        assert (scaled.trouble() is not None) == wide


def test_rounding_is_named_before_a_wide_bracket(result: CriticalResult) -> None:
    """More passes would not help."""
    trouble = replace(result, largest_drop=1e-8, bracket=np.array([0.5, 1.01])).trouble()
    assert trouble
    assert (trouble.kind, trouble.fix) == ("degenerate", "--dtype float64")


@pytest.mark.parametrize("ratio", [math.nan, math.inf])
def test_a_ratio_that_is_not_known_is_not_told(ratio: float, result: CriticalResult) -> None:
    found = replace(result, learning_rate=0.1, edge=20.0, edge_ratio=ratio).remarks()
    assert not any("critical steps" in sentence for sentence in found)


def test_without_points_nothing_is_said_of_rounding(result: CriticalResult) -> None:
    empty = unknown(result, 0.0, 1e-3, slope=None, point_step=np.zeros(0), point_change=np.zeros(0))
    trouble = empty.trouble()
    assert trouble
    assert "rounding" not in trouble.why
    assert trouble.fix.startswith("--update gradient")


def test_the_steps_that_lower_the_loss_are_named_unless_one_of_them_does_not(result: CriticalResult) -> None:
    assert result.meaning() == "steps up to 0.99 lower the loss (of those evaluated), 1.01 does not"
    gradient = replace(result, attributes={"options": '{"update": "gradient"}'})
    assert gradient.meaning().startswith("learning rates up to 0.99 lower")
    assert replace(result, point_change=np.array([0.1, -0.02, 0.02])).meaning() == ""
    assert unknown(result, 0.5, math.inf).sentences() == unknown(result, 0.5, math.inf).remarks()
