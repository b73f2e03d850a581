"""The rule for retrained checkpoints, against the tests of scipy and simulated training runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from landscape.gates.policy import Rule, RuleDirection
from landscape.gates.retrained import compare_retrained, detectable_increase, significant_difference, welch_error
from landscape.gates.tolerance import Tolerance

RULE = Rule(Tolerance(0.01))
RANDOM = np.random.RandomState(0)


def test_the_chance_is_welchs_on_logarithms() -> None:
    baseline, candidate = [2.0, 2.5, 3.1, 2.2, 2.8], [3.5, 4.4, 3.9]
    expected = scipy.stats.ttest_ind(np.log(candidate), np.log(baseline), equal_var=False, alternative="greater")
    assert compare_retrained(baseline, candidate, RULE).p_value == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("direction", ["increase", "decrease", "both"])
@pytest.mark.parametrize("alpha", [0.1, 0.01, 1e-4])
def test_it_is_worse_exactly_where_the_test_is_significant_and_the_ratio_large_enough(
    direction: RuleDirection, alpha: float
) -> None:
    rule = Rule(Tolerance(0.2), direction=direction, alpha=alpha)
    sides = {"increase": "greater", "decrease": "less", "both": "two-sided"}
    seen = set()
    for shift in np.linspace(-0.8, 0.8, 41):
        baseline, candidate = RANDOM.lognormal(0, 0.15, 5), RANDOM.lognormal(shift, 0.15, 4)
        ratio = scipy.stats.gmean(candidate) / scipy.stats.gmean(baseline)
        test = scipy.stats.ttest_ind(np.log(candidate), np.log(baseline), equal_var=False, alternative=sides[direction])
        large = {"increase": ratio > 1.2, "decrease": ratio < 0.8, "both": ratio > 1.2 or ratio < 0.8}
        expected = bool(large[direction] and test.pvalue < alpha)
        seen.add(expected)
        assert compare_retrained(baseline.tolist(), candidate.tolist(), rule).worse == expected
    assert seen == {True, False} or alpha == 1e-4


def test_the_numbers_are_geometric_means() -> None:
    found = compare_retrained([1.0, 2.0, 4.0], [2.0, 4.0, 8.0], RULE)
    assert (found.baseline, found.candidate) == (pytest.approx(2.0), pytest.approx(4.0))
    assert found.gap == pytest.approx(math.log(2))


def test_values_of_both_signs_are_compared_as_they_are() -> None:
    baseline, candidate = [-1.0, -1.1, -0.9, -1.05, -0.95], [1.0, 1.1, 0.9]
    found = compare_retrained(baseline, candidate, RULE)
    expected = scipy.stats.ttest_ind(candidate, baseline, equal_var=False, alternative="greater")
    assert found.worse
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.allowed == pytest.approx(0.01)
    assert not compare_retrained(candidate + candidate, baseline, RULE).worse


def test_more_checkpoints_find_what_fewer_miss() -> None:
    few = compare_retrained([1.0, 1.4, 0.8, 1.1, 0.9], [1.4, 1.9, 1.2], Rule(Tolerance(0.1)))
    many = compare_retrained([1.0, 1.4, 0.8, 1.1, 0.9] * 4, [1.4, 1.9, 1.2] * 4, Rule(Tolerance(0.1)))
    assert not few.worse
    assert many.worse


def test_equal_values_have_no_spread_and_are_compared_all_the_same() -> None:
    assert compare_retrained([1.0] * 5, [2.0] * 3, RULE).worse
    assert not compare_retrained([1.0] * 5, [1.0] * 3, RULE).worse
    assert not compare_retrained([1.0] * 5, [1.0] * 3, RULE).too_uncertain


def test_candidates_of_huge_spread_do_not_settle_it() -> None:
    baseline = [1.0, 1.05, 0.95, 1.02, 0.98]
    assert compare_retrained(baseline, [0.01, 1.0, 100.0], RULE).too_uncertain
    assert compare_retrained([1.0] * 5, [0.9, 1.0, 1.1], RULE).too_uncertain
    assert not compare_retrained(baseline, [0.94, 1.0, 1.07], RULE).too_uncertain


def test_without_change_a_false_alarm_is_rarer_than_alpha() -> None:
    rule = Rule(Tolerance(0.0), alpha=0.01)
    alarms = [
        compare_retrained(row[:5].tolist(), row[5:].tolist(), rule).worse
        for row in RANDOM.lognormal(0, 0.35, (10000, 8))
    ]
    assert 0.006 < np.mean(alarms) < 0.014


def test_the_usual_spread_is_seldom_called_unsettled() -> None:
    rows = RANDOM.lognormal(0, 0.35, (10000, 8))
    wide = Rule(Tolerance(0.25))
    assert (
        np.mean([bool(compare_retrained(row[:5].tolist(), row[5:].tolist(), wide).too_uncertain) for row in rows])
        < 0.025
    )


@pytest.mark.parametrize("candidates", [[0.2, 8, 8], [0.1, 6, 7], [1.9, 2.2, 4.9], [0.3, 3.0, 3.9]])
def test_the_candidates_own_spread_buys_no_pass(candidates: list[float]) -> None:
    found = compare_retrained([0.66, 0.84, 1.0, 1.19, 1.52], candidates, Rule(Tolerance(0.25)))
    assert found.worse or found.too_uncertain


def test_a_spread_that_only_hides_a_regression_is_named() -> None:
    found = compare_retrained([0.9, 1.0, 1.1, 0.95, 1.05], [1.3, 1.5, 2.6], Rule(Tolerance(0.25)))
    assert not found.worse
    assert "own spread hides" in found.too_uncertain


@pytest.mark.parametrize(
    ("direction", "share", "worse"),
    [
        ("decrease", 0.2, True),
        ("decrease", 0.3, False),
        ("both", 0.2, True),
        ("both", 0.3, False),
        ("increase", 0.2, False),
    ],
)
def test_a_fall_is_a_share_of_the_baseline(direction: RuleDirection, share: float, worse: bool) -> None:
    """By 25 %: more than 20 % and less than 30 %, whichever direction is asked for."""
    baseline = [0.99, 1.0, 1.01, 1.0, 1.0]
    rule = Rule(Tolerance(share), direction=direction)
    assert compare_retrained(baseline, [0.75 * value for value in baseline[:3]], rule).worse == worse


def test_in_both_directions_a_hidden_change_is_judged_at_half_of_alpha() -> None:
    """Of ratio 1.9 by the baseline's spread of 0.134: t = 6.56, beyond 0.5 % (4.6) and not 0.1 % of both (8.6)."""
    baseline = [0.85, 1.0, 1.18, 0.93, 1.08]
    candidate = [1.05, 1.9, 3.4]
    usual = Rule(Tolerance(0.25), direction="both")
    assert "own spread hides" in compare_retrained(baseline, candidate, usual).too_uncertain
    spread = np.log(baseline).std(ddof=1) * math.sqrt(1 / 5 + 1 / 3)
    exact = 2 * scipy.stats.t.sf(np.log(candidate).mean() / spread - np.log(baseline).mean() / spread, 4)
    for alpha, hidden in ((1.05 * exact, True), (0.95 * exact, False)):
        found = compare_retrained(baseline, candidate, replace(usual, alpha=float(alpha)))
        assert ("own spread hides" in found.too_uncertain) == hidden


def test_in_both_directions_the_chance_is_two_sided() -> None:
    baseline, candidate = [2.0, 2.5, 3.1, 2.2, 2.8], [3.5, 4.4, 3.9]
    expected = scipy.stats.ttest_ind(np.log(candidate), np.log(baseline), equal_var=False)
    assert compare_retrained(baseline, candidate, replace(RULE, direction="both")).p_value == pytest.approx(
        expected.pvalue
    )


def test_the_detectable_change_is_mostly_detected() -> None:
    spread, alpha = 0.2, 0.01
    change = detectable_increase(spread, (5, 3), Rule(Tolerance(0.0), alpha=alpha))
    rows = RANDOM.lognormal(0, spread, (4000, 8))
    rule = Rule(Tolerance(0.0), alpha=alpha)
    found = [compare_retrained(row[:5].tolist(), ((1 + change) * row[5:]).tolist(), rule).worse for row in rows]
    assert 0.78 < np.mean(found) < 0.92


def test_the_error_and_the_degrees_of_freedom_are_welchs() -> None:
    first, second = RANDOM.lognormal(0, 0.2, 5), RANDOM.lognormal(0.3, 0.4, 3)
    error, freedom = welch_error(first, second)
    expected = scipy.stats.ttest_ind(second, first, equal_var=False)
    assert (second.mean() - first.mean()) / error == pytest.approx(expected.statistic)
    assert freedom == pytest.approx(expected.df)
    assert welch_error(np.ones(3), np.ones(4)) == (0.0, math.inf)


def test_a_significant_difference_at_the_baselines_spread_has_the_p_value_alpha() -> None:
    """By Student's test with equal variances, whose variance is the baseline's alone."""
    baseline = RANDOM.lognormal(0, 0.2, 6)
    difference = significant_difference(baseline, 3, 0.02)
    statistic = difference / (baseline.std(ddof=1) * math.sqrt(1 / 6 + 1 / 3))
    assert scipy.stats.t.sf(statistic, 5) == pytest.approx(0.02)
