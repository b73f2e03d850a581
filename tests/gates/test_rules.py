"""The two rules, against textbook tests of other libraries and against simulated noise of known size."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from landscape.gates.comparison import Comparison
from landscape.gates.metric import Reading
from landscape.gates.policy import Direction, Rule
from landscape.gates.retrained import compare_retrained as retrained
from landscape.gates.retrained import detectable_increase
from landscape.gates.same_weights import compare_same_weights as same_weights
from landscape.gates.same_weights import difference_error
from landscape.gates.tolerance import ZERO_BASELINE_TOLERANCE, Tolerance

RULE = Rule(Tolerance(0.01))
RANDOM = np.random.RandomState(0)


def compared(baseline: float, candidate: float, direction: Direction = "increase", error: float = 0.0) -> Comparison:
    return same_weights(Reading(baseline, error), Reading(candidate, error), replace(RULE, direction=direction))


def drawn(values: np.ndarray) -> Reading:
    return Reading(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), tuple(values.tolist()))


class TestSameWeights:
    @pytest.mark.parametrize("size", [2.0, -2.0], ids=["positive", "negative"])
    def test_a_rise_beyond_the_tolerance_is_worse_whatever_the_sign_of_the_baseline(self, size: float) -> None:
        assert compared(size, size + 0.03).worse
        assert not compared(size, size + 0.01).worse
        assert not compared(size, size - 0.03).worse
        assert compared(size, size - 0.03).better

    def test_the_limit_itself_is_allowed(self) -> None:
        assert not compared(1.0, 1.01).worse or math.isclose(1.01 - 1.0, 0.01)
        assert not compared(100.0, 101.0).worse
        assert compared(100.0, 101.001).worse

    def test_a_fall_is_worse_where_more_is_better(self) -> None:
        assert compared(2.0, 1.9, "decrease").worse
        assert compared(2.0, 2.1, "decrease").better

    def test_both_directions_are_worse_on_request(self) -> None:
        assert compared(2.0, 1.9, "both").worse
        assert compared(2.0, 2.1, "both").worse
        assert not compared(2.0, 2.01, "both").worse
        assert not compared(2.0, 1.9, "both").better

    def test_a_baseline_of_zero_allows_its_floor_and_no_more(self) -> None:
        assert not compared(0.0, ZERO_BASELINE_TOLERANCE).worse
        assert compared(0.0, 2 * ZERO_BASELINE_TOLERANCE).worse

    def test_what_may_be_rounding_is_no_regression(self) -> None:
        rounded = Reading(1e-6, floor=1e-6)
        assert not same_weights(rounded, Reading(1.9e-6), RULE).worse
        assert same_weights(rounded, Reading(2.1e-6, floor=1.0), RULE).worse, "not the candidate's own"

    def test_a_gap_within_three_standard_errors_is_noise(self) -> None:
        error = 0.01
        three = 3 * math.sqrt(2) * error
        assert not compared(1.0, 1.0 + 0.99 * three, error=error).worse
        assert compared(1.0, 1.0 + 1.01 * three, error=error).worse

    def test_the_error_is_predicted_from_the_baseline_at_the_candidates_number_of_draws(self) -> None:
        baseline = Reading(1.0, 0.1, tuple(RANDOM.standard_normal(16)))
        candidate = Reading(1.0, 5.0, tuple(RANDOM.standard_normal(4)))
        assert difference_error(baseline, candidate) == pytest.approx(0.1 * math.sqrt(1 + 16 / 4))

    def test_shared_draws_give_the_paired_error(self) -> None:
        theirs = RANDOM.standard_normal(40) + 5
        mine = 1.01 * theirs + 0.001 * RANDOM.standard_normal(40)
        expected = scipy.stats.ttest_rel(mine, theirs)
        assert difference_error(drawn(theirs), drawn(mine)) == pytest.approx(
            (mine - theirs).mean() / expected.statistic
        )

    def test_an_estimators_own_factor_is_part_of_the_paired_error(self) -> None:
        theirs, mine = RANDOM.standard_normal((2, 30)) * 0.01 + RANDOM.standard_normal(30) + 5
        doubled = replace(drawn(theirs), error=2 * (drawn(theirs).error or 0))
        assert difference_error(doubled, drawn(mine)) == pytest.approx(2 * difference_error(drawn(theirs), drawn(mine)))

    def test_shared_draws_show_a_change_far_below_the_error_of_one_estimate(self) -> None:
        theirs = 1 + 0.3 * RANDOM.standard_normal(50)
        alone, shared = drawn(theirs), drawn(1.02 * theirs)
        assert same_weights(alone, shared, RULE).worse
        assert not same_weights(alone, replace(shared, draws=shared.draws[:-1]), RULE).worse

    def test_draws_that_share_nothing_are_no_worse_than_the_prediction(self) -> None:
        first, second = drawn(RANDOM.standard_normal(30)), drawn(100 * RANDOM.standard_normal(30))
        assert difference_error(first, second) <= math.hypot(first.error or 0, first.error or 0) * (1 + 1e-12)

    def test_the_candidates_own_error_never_widens_what_is_allowed(self) -> None:
        baseline = Reading(1.0, 0.001)
        for error in (0.001, 1.0, 1e9):
            assert same_weights(baseline, Reading(1.1, error), RULE).worse

    @pytest.mark.parametrize("value", [0.5, 1.0, 1.009])
    def test_a_candidate_of_huge_variance_does_not_settle_it(self, value: float) -> None:
        assert same_weights(Reading(1.0, 0.001), Reading(value, 10.0), RULE).too_uncertain
        garbage = 1 + 10 * RANDOM.standard_normal(50)
        candidate = replace(drawn(garbage), value=value)
        assert same_weights(drawn(1 + 0.01 * RANDOM.standard_normal(50)), candidate, RULE).too_uncertain

    def test_an_exact_baseline_expects_of_an_estimate_what_its_options_ask_for(self) -> None:
        """A trace that was summed, beside one that was estimated to 5 %."""
        exact = Reading(1.0, 0.0, asked=0.025)
        estimated = Reading(1.04, 0.02, tuple(1.04 + 0.08 * RANDOM.standard_normal(16)), asked=0.026)
        found = same_weights(exact, estimated, Rule(Tolerance(0.02)))
        assert (found.worse, found.too_uncertain) == (False, "")
        assert found.noise == pytest.approx(0.075)
        assert same_weights(exact, replace(estimated, value=1.2), RULE).worse
        assert same_weights(exact, replace(estimated, error=0.2), RULE).too_uncertain

    def test_constant_draws_have_no_error_of_their_own(self) -> None:
        constant = Reading(1.0, 0.0, (1.0, 1.0, 1.0))
        assert difference_error(constant, replace(constant, value=1.1, draws=(1.0, 1.1, 1.2))) == 0.0

    def test_a_larger_error_that_still_fits_the_room_settles_it(self) -> None:
        wide = replace(RULE, tolerance=Tolerance(0.25))
        assert not same_weights(Reading(1.0, 0.001), Reading(1.0, 0.05), wide).too_uncertain
        assert same_weights(Reading(1.0, 0.001), Reading(1.0, 0.09), wide).too_uncertain

    def test_the_usual_error_settles_it_however_little_room_is_left(self) -> None:
        assert not same_weights(Reading(1.0, 0.01), Reading(1.009, 0.012), RULE).too_uncertain
        assert same_weights(Reading(1.0, 0.01), Reading(1.009, 0.031), RULE).too_uncertain

    def test_an_error_that_is_missing_where_the_baseline_has_one_settles_nothing(self) -> None:
        assert same_weights(Reading(1.0, 0.01), Reading(1.0, None), RULE).too_uncertain
        assert not same_weights(Reading(1.0, None), Reading(1.0, None), RULE).too_uncertain
        assert same_weights(Reading(1.0, None), Reading(1.0, 0.1), RULE).too_uncertain

    def test_equal_estimates_raise_one_false_alarm_in_seven_hundred(self) -> None:
        alarms, count = 0, 20000
        strict = Rule(Tolerance(0.0))
        for first, second in RANDOM.standard_normal((count, 2)):
            alarms += same_weights(Reading(100 + first, 1.0), Reading(100 + second, 1.0), strict).worse
        rate = scipy.stats.norm.sf(3)
        assert abs(alarms / count - rate) < 4 * math.sqrt(rate / count)


class TestRetrained:
    def test_the_chance_is_welchs_on_logarithms(self) -> None:
        baseline, candidate = [2.0, 2.5, 3.1, 2.2, 2.8], [3.5, 4.4, 3.9]
        expected = scipy.stats.ttest_ind(np.log(candidate), np.log(baseline), equal_var=False, alternative="greater")
        assert retrained(baseline, candidate, RULE).p_value == pytest.approx(expected.pvalue)

    @pytest.mark.parametrize("direction", ["increase", "decrease", "both"])
    @pytest.mark.parametrize("alpha", [0.1, 0.01, 1e-4])
    def test_it_is_worse_exactly_where_the_test_is_significant_and_the_ratio_large_enough(
        self, direction: Direction, alpha: float
    ) -> None:
        rule = Rule(Tolerance(0.2), direction=direction, alpha=alpha)
        sides = {"increase": "greater", "decrease": "less", "both": "two-sided"}
        seen = set()
        for shift in np.linspace(-0.8, 0.8, 41):
            baseline, candidate = RANDOM.lognormal(0, 0.15, 5), RANDOM.lognormal(shift, 0.15, 4)
            ratio = scipy.stats.gmean(candidate) / scipy.stats.gmean(baseline)
            test = scipy.stats.ttest_ind(
                np.log(candidate), np.log(baseline), equal_var=False, alternative=sides[direction]
            )
            large = {"increase": ratio > 1.2, "decrease": ratio < 0.8, "both": ratio > 1.2 or ratio < 0.8}
            expected = bool(large[direction] and test.pvalue < alpha)
            seen.add(expected)
            assert retrained(baseline.tolist(), candidate.tolist(), rule).worse == expected
        assert seen == {True, False} or alpha == 1e-4

    def test_the_numbers_are_geometric_means(self) -> None:
        found = retrained([1.0, 2.0, 4.0], [2.0, 4.0, 8.0], RULE)
        assert (found.baseline, found.candidate) == (pytest.approx(2.0), pytest.approx(4.0))
        assert found.gap == pytest.approx(math.log(2))

    def test_values_of_both_signs_are_compared_as_they_are(self) -> None:
        baseline, candidate = [-1.0, -1.1, -0.9, -1.05, -0.95], [1.0, 1.1, 0.9]
        found = retrained(baseline, candidate, RULE)
        expected = scipy.stats.ttest_ind(candidate, baseline, equal_var=False, alternative="greater")
        assert found.worse
        assert found.p_value == pytest.approx(expected.pvalue)
        assert found.allowed == pytest.approx(0.01)
        assert not retrained(candidate + candidate, baseline, RULE).worse

    def test_more_checkpoints_find_what_fewer_miss(self) -> None:
        few = retrained([1.0, 1.4, 0.8, 1.1, 0.9], [1.4, 1.9, 1.2], Rule(Tolerance(0.1)))
        many = retrained([1.0, 1.4, 0.8, 1.1, 0.9] * 4, [1.4, 1.9, 1.2] * 4, Rule(Tolerance(0.1)))
        assert not few.worse
        assert many.worse

    def test_equal_values_have_no_spread_and_are_compared_all_the_same(self) -> None:
        assert retrained([1.0] * 5, [2.0] * 3, RULE).worse
        assert not retrained([1.0] * 5, [1.0] * 3, RULE).worse
        assert not retrained([1.0] * 5, [1.0] * 3, RULE).too_uncertain

    def test_candidates_of_huge_spread_do_not_settle_it(self) -> None:
        baseline = [1.0, 1.05, 0.95, 1.02, 0.98]
        assert retrained(baseline, [0.01, 1.0, 100.0], RULE).too_uncertain
        assert retrained([1.0] * 5, [0.9, 1.0, 1.1], RULE).too_uncertain
        assert not retrained(baseline, [0.94, 1.0, 1.07], RULE).too_uncertain

    def test_without_change_a_false_alarm_is_rarer_than_alpha(self) -> None:
        rule = Rule(Tolerance(0.0), alpha=0.01)
        alarms = [
            retrained(row[:5].tolist(), row[5:].tolist(), rule).worse for row in RANDOM.lognormal(0, 0.35, (10000, 8))
        ]
        assert 0.006 < np.mean(alarms) < 0.014

    def test_the_usual_spread_is_seldom_called_unsettled(self) -> None:
        rows = RANDOM.lognormal(0, 0.35, (10000, 8))
        wide = Rule(Tolerance(0.25))
        assert (
            np.mean([bool(retrained(row[:5].tolist(), row[5:].tolist(), wide).too_uncertain) for row in rows]) < 0.025
        )

    @pytest.mark.parametrize("candidates", [[0.2, 8, 8], [0.1, 6, 7], [1.9, 2.2, 4.9], [0.3, 3.0, 3.9]])
    def test_the_candidates_own_spread_buys_no_pass(self, candidates: list[float]) -> None:
        found = retrained([0.66, 0.84, 1.0, 1.19, 1.52], candidates, Rule(Tolerance(0.25)))
        assert found.worse or found.too_uncertain

    def test_a_spread_that_only_hides_a_regression_is_named(self) -> None:
        found = retrained([0.9, 1.0, 1.1, 0.95, 1.05], [1.3, 1.5, 2.6], Rule(Tolerance(0.25)))
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
    def test_a_fall_is_a_share_of_the_baseline(self, direction: Direction, share: float, worse: bool) -> None:
        """By 25 %: more than 20 % and less than 30 %, whichever direction is asked for."""
        baseline = [0.99, 1.0, 1.01, 1.0, 1.0]
        rule = Rule(Tolerance(share), direction=direction)
        assert retrained(baseline, [0.75 * value for value in baseline[:3]], rule).worse == worse

    def test_in_both_directions_a_hidden_change_is_judged_at_half_of_alpha(self) -> None:
        """Of ratio 1.9 by the baseline's spread of 0.134: t = 6.56, beyond 0.5 % (4.6) and not 0.1 % of both (8.6)."""
        baseline = [0.85, 1.0, 1.18, 0.93, 1.08]
        candidate = [1.05, 1.9, 3.4]
        usual = Rule(Tolerance(0.25), direction="both")
        assert "own spread hides" in retrained(baseline, candidate, usual).too_uncertain
        spread = np.log(baseline).std(ddof=1) * math.sqrt(1 / 5 + 1 / 3)
        exact = 2 * scipy.stats.t.sf(np.log(candidate).mean() / spread - np.log(baseline).mean() / spread, 4)
        for alpha, hidden in ((1.05 * exact, True), (0.95 * exact, False)):
            found = retrained(baseline, candidate, replace(usual, alpha=float(alpha)))
            assert ("own spread hides" in found.too_uncertain) == hidden

    def test_in_both_directions_the_chance_is_two_sided(self) -> None:
        baseline, candidate = [2.0, 2.5, 3.1, 2.2, 2.8], [3.5, 4.4, 3.9]
        expected = scipy.stats.ttest_ind(np.log(candidate), np.log(baseline), equal_var=False)
        assert retrained(baseline, candidate, replace(RULE, direction="both")).p_value == pytest.approx(expected.pvalue)

    def test_the_detectable_change_is_mostly_detected(self) -> None:
        spread, alpha = 0.2, 0.01
        change = detectable_increase(spread, (5, 3), Rule(Tolerance(0.0), alpha=alpha))
        rows = RANDOM.lognormal(0, spread, (4000, 8))
        rule = Rule(Tolerance(0.0), alpha=alpha)
        found = [retrained(row[:5].tolist(), ((1 + change) * row[5:]).tolist(), rule).worse for row in rows]
        assert 0.78 < np.mean(found) < 0.92
