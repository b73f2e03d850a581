"""Options of `direction`, and what its result says of itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from landscape import Direction
from landscape.analyses.direction import DirectionResult
from landscape.errors import UsageError


@pytest.fixture
def result() -> DirectionResult:
    """A step of length 1 with a safe radius of 2."""
    return DirectionResult(
        slope=-1.0,
        curvature=2.0,
        length=1.0,
        predicted_change=0.0,
        change=0.1,
        safe_radius=2.0,
        step_ratio=0.5,
        limiting_fraction=0.0,
        loss=0.1,
        gradient_norm=1.0,
        parameters=10,
        samples=5,
    )


def test_a_step_within_the_safe_radius_needs_no_remark(result: DirectionResult) -> None:
    assert result.trouble() is None
    assert result.remarks() == []


def test_a_step_beyond_the_safe_radius_is_a_remark(result: DirectionResult) -> None:
    (remark,) = replace(result, step_ratio=3.0, limiting_fraction=0.25).remarks()
    assert remark.startswith("the step is 3 times the safe radius: 25 % of the predictions may change")


@pytest.mark.parametrize("field", ["curvature", "change"])
def test_numbers_that_are_not_finite_are_trouble(result: DirectionResult, field: str) -> None:
    trouble = replace(result, **{field: math.inf}).trouble()
    assert trouble
    assert (trouble.why, trouble.kind) == (f"not finite: {field}", "not finite")


def test_a_path_is_stored_as_text() -> None:
    assert Direction(towards=Path("a.pt")).towards == "a.pt"  # type: ignore[arg-type]


def test_two_steps_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="two steps"):
        Direction(towards="a.pt", lr=0.1)


def test_the_lowest_step_is_that_of_the_parabola_if_it_is_downhill_and_convex(result: DirectionResult) -> None:
    assert result.meaning() == (
        "to second order the loss is lowest after a step of -slope / curvature = 0.5, and back at its value after "
        "twice that"
    )
    for changes in ({"slope": 1.0}, {"curvature": -2.0}, {"slope": -1e-5}):
        assert replace(result, **changes).meaning() == ""
