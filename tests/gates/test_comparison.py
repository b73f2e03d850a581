"""Comparisons: when a gap counts, and how it is put in words."""

from __future__ import annotations

import math

import pytest

from landscape.gates.comparison import Comparison, describe_amount, worsening


def comparison(gap: float, *, allowed: float = 0.1, noise: float = 0.2, baseline: float = 4.0) -> Comparison:
    return Comparison(baseline, baseline + gap, gap, allowed, noise / 3, noise)


@pytest.mark.parametrize(
    ("gap", "allowed", "noise", "worse"),
    [
        (0.3, 0.1, 0.2, True),
        (0.15, 0.1, 0.2, False),
        (0.15, 0.2, 0.1, False),
        (0.2, 0.1, 0.2, False),
        (0.2, 0.2, 0.1, False),
    ],
    ids=["beyond-both", "within-noise", "within-the-tolerance", "at-the-noise", "at-the-tolerance"],
)
def test_a_gap_counts_beyond_the_tolerance_and_beyond_noise(
    gap: float, allowed: float, noise: float, worse: bool
) -> None:
    assert comparison(gap, allowed=allowed, noise=noise).worse == worse
    assert comparison(-gap, allowed=allowed, noise=noise).better == worse
    assert not comparison(-gap, allowed=allowed, noise=noise).worse
    assert not comparison(gap, allowed=allowed, noise=noise).better


@pytest.mark.parametrize("baseline", [4.0, -4.0], ids=["positive", "negative"])
def test_amounts_are_shares_of_the_baselines_size(baseline: float) -> None:
    assert describe_amount(0.5, baseline) == "12.5 %"
    assert describe_amount(0.5, baseline, sign="+") == "+12.5 %"
    assert describe_amount(-0.5, baseline, sign="+") == "-12.5 %"


def test_beside_a_baseline_of_zero_amounts_stand_for_themselves() -> None:
    assert describe_amount(0.125, 0.0, sign="+") == "+0.125"


def test_noise_of_logarithms_hides_a_ratio() -> None:
    plain = Comparison(2.0, 2.0, 0.0, 0.1, 0.1, 0.3)
    ratio = Comparison(2.0, 2.0, 0.0, 0.1, 0.1, math.log(1.3), of_logarithms=True)
    assert plain.hidden_change == "15 %"
    assert ratio.hidden_change == "30 %"


@pytest.mark.parametrize(
    ("direction", "rise", "fall"), [("increase", 2.0, -2.0), ("decrease", -2.0, 2.0), ("both", 2.0, 2.0)]
)
def test_each_direction_says_what_is_worse(direction: str, rise: float, fall: float) -> None:
    assert worsening(direction, 2.0) == rise  # type: ignore[arg-type]
    assert worsening(direction, -2.0) == fall  # type: ignore[arg-type]
