"""The rule for the same weights, against paired tests of scipy and simulated noise of known size."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from landscape.gates.comparison import Comparison
from landscape.gates.metric import Reading
from landscape.gates.policy import Rule, RuleDirection
from landscape.gates.same_weights import compare_same_weights, difference_error
from landscape.gates.tolerance import ZERO_BASELINE_TOLERANCE, Tolerance

RULE = Rule(Tolerance(0.01))
RANDOM = np.random.RandomState(0)


def compared(
    baseline: float, candidate: float, direction: RuleDirection = "increase", error: float = 0.0
) -> Comparison:
    return compare_same_weights(Reading(baseline, error), Reading(candidate, error), replace(RULE, direction=direction))


def drawn(values: np.ndarray) -> Reading:
    return Reading(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), tuple(values.tolist()))


@pytest.mark.parametrize("size", [2.0, -2.0], ids=["positive", "negative"])
def test_a_rise_beyond_the_tolerance_is_worse_whatever_the_sign_of_the_baseline(size: float) -> None:
    assert compared(size, size + 0.03).worse
    assert not compared(size, size + 0.01).worse
    assert not compared(size, size - 0.03).worse
    assert compared(size, size - 0.03).better


def test_the_limit_itself_is_allowed() -> None:
    assert not compared(1.0, 1.01).worse or math.isclose(1.01 - 1.0, 0.01)
    assert not compared(100.0, 101.0).worse
    assert compared(100.0, 101.001).worse


def test_a_fall_is_worse_where_more_is_better() -> None:
    assert compared(2.0, 1.9, "decrease").worse
    assert compared(2.0, 2.1, "decrease").better


def test_both_directions_are_worse_on_request() -> None:
    assert compared(2.0, 1.9, "both").worse
    assert compared(2.0, 2.1, "both").worse
    assert not compared(2.0, 2.01, "both").worse
    assert not compared(2.0, 1.9, "both").better


def test_a_baseline_of_zero_allows_its_floor_and_no_more() -> None:
    assert not compared(0.0, ZERO_BASELINE_TOLERANCE).worse
    assert compared(0.0, 2 * ZERO_BASELINE_TOLERANCE).worse


def test_what_may_be_rounding_is_no_regression() -> None:
    rounded = Reading(1e-6, floor=1e-6)
    assert not compare_same_weights(rounded, Reading(1.9e-6), RULE).worse
    assert compare_same_weights(rounded, Reading(2.1e-6, floor=1.0), RULE).worse, "not the candidate's own"


def test_a_gap_within_three_standard_errors_is_noise() -> None:
    error = 0.01
    three = 3 * math.sqrt(2) * error
    assert not compared(1.0, 1.0 + 0.99 * three, error=error).worse
    assert compared(1.0, 1.0 + 1.01 * three, error=error).worse


def test_the_error_is_predicted_from_the_baseline_at_the_candidates_number_of_draws() -> None:
    baseline = Reading(1.0, 0.1, tuple(RANDOM.standard_normal(16)))
    candidate = Reading(1.0, 5.0, tuple(RANDOM.standard_normal(4)))
    assert difference_error(baseline, candidate) == pytest.approx(0.1 * math.sqrt(1 + 16 / 4))


def test_shared_draws_give_the_paired_error() -> None:
    theirs = RANDOM.standard_normal(40) + 5
    mine = 1.01 * theirs + 0.001 * RANDOM.standard_normal(40)
    expected = scipy.stats.ttest_rel(mine, theirs)
    assert difference_error(drawn(theirs), drawn(mine)) == pytest.approx((mine - theirs).mean() / expected.statistic)


def test_an_estimators_own_factor_is_part_of_the_paired_error() -> None:
    theirs, mine = RANDOM.standard_normal((2, 30)) * 0.01 + RANDOM.standard_normal(30) + 5
    doubled = replace(drawn(theirs), error=2 * (drawn(theirs).error or 0))
    assert difference_error(doubled, drawn(mine)) == pytest.approx(2 * difference_error(drawn(theirs), drawn(mine)))


def test_shared_draws_show_a_change_far_below_the_error_of_one_estimate() -> None:
    theirs = 1 + 0.3 * RANDOM.standard_normal(50)
    alone, shared = drawn(theirs), drawn(1.02 * theirs)
    assert compare_same_weights(alone, shared, RULE).worse
    assert not compare_same_weights(alone, replace(shared, draws=shared.draws[:-1]), RULE).worse


def test_draws_that_share_nothing_are_no_worse_than_the_prediction() -> None:
    first, second = drawn(RANDOM.standard_normal(30)), drawn(100 * RANDOM.standard_normal(30))
    assert difference_error(first, second) <= math.hypot(first.error or 0, first.error or 0) * (1 + 1e-12)


def test_the_candidates_own_error_never_widens_what_is_allowed() -> None:
    baseline = Reading(1.0, 0.001)
    for error in (0.001, 1.0, 1e9):
        assert compare_same_weights(baseline, Reading(1.1, error), RULE).worse


@pytest.mark.parametrize("value", [0.5, 1.0, 1.009])
def test_a_candidate_of_huge_variance_does_not_settle_it(value: float) -> None:
    assert compare_same_weights(Reading(1.0, 0.001), Reading(value, 10.0), RULE).too_uncertain
    garbage = 1 + 10 * RANDOM.standard_normal(50)
    candidate = replace(drawn(garbage), value=value)
    assert compare_same_weights(drawn(1 + 0.01 * RANDOM.standard_normal(50)), candidate, RULE).too_uncertain


def test_an_exact_baseline_expects_of_an_estimate_what_its_options_ask_for() -> None:
    """A trace that was summed, beside one that was estimated to 5 %."""
    exact = Reading(1.0, 0.0, asked=0.025)
    estimated = Reading(1.04, 0.02, tuple(1.04 + 0.08 * RANDOM.standard_normal(16)), asked=0.026)
    found = compare_same_weights(exact, estimated, Rule(Tolerance(0.02)))
    assert (found.worse, found.too_uncertain) == (False, "")
    assert found.noise == pytest.approx(0.075)
    assert compare_same_weights(exact, replace(estimated, value=1.2), RULE).worse
    assert compare_same_weights(exact, replace(estimated, error=0.2), RULE).too_uncertain


def test_constant_draws_have_no_error_of_their_own() -> None:
    constant = Reading(1.0, 0.0, (1.0, 1.0, 1.0))
    assert difference_error(constant, replace(constant, value=1.1, draws=(1.0, 1.1, 1.2))) == 0.0


def test_a_larger_error_that_still_fits_the_room_settles_it() -> None:
    wide = replace(RULE, tolerance=Tolerance(0.25))
    assert not compare_same_weights(Reading(1.0, 0.001), Reading(1.0, 0.05), wide).too_uncertain
    assert compare_same_weights(Reading(1.0, 0.001), Reading(1.0, 0.09), wide).too_uncertain


def test_the_usual_error_settles_it_however_little_room_is_left() -> None:
    assert not compare_same_weights(Reading(1.0, 0.01), Reading(1.009, 0.012), RULE).too_uncertain
    assert compare_same_weights(Reading(1.0, 0.01), Reading(1.009, 0.031), RULE).too_uncertain


def test_an_error_that_is_missing_where_the_baseline_has_one_settles_nothing() -> None:
    assert compare_same_weights(Reading(1.0, 0.01), Reading(1.0, None), RULE).too_uncertain
    assert not compare_same_weights(Reading(1.0, None), Reading(1.0, None), RULE).too_uncertain
    assert compare_same_weights(Reading(1.0, None), Reading(1.0, 0.1), RULE).too_uncertain


def test_equal_estimates_raise_one_false_alarm_in_seven_hundred() -> None:
    alarms, count = 0, 20000
    strict = Rule(Tolerance(0.0))
    for first, second in RANDOM.standard_normal((count, 2)):
        alarms += compare_same_weights(Reading(100 + first, 1.0), Reading(100 + second, 1.0), strict).worse
    rate = scipy.stats.norm.sf(3)
    assert abs(alarms / count - rate) < 4 * math.sqrt(rate / count)
