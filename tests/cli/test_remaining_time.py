"""The time that is left: by the plan before the first step, then by the pace, on clocks that the tests move."""

from __future__ import annotations

from itertools import pairwise

import pytest

from landscape.analyses import Plan, Progress
from landscape_cli.remaining_time import MAX_REPORTS, RemainingTime


def step(done: int, total: int = 100, phase: str = "") -> Progress:
    return Progress(done, total, "", dict, phase)


def planned(seconds: float | None, **phases: float) -> RemainingTime:
    """An estimate that begins at 0, for a plan of so many seconds."""
    return RemainingTime.of(None if seconds is None else Plan(0, 0, seconds, {}, phases=phases), 0.0)


def known(estimate: RemainingTime, now: float) -> float:
    seconds = estimate.seconds(now)
    assert seconds is not None
    return seconds


def test_before_the_first_step_the_plan_counts_down_and_says_nothing_once_it_is_over() -> None:
    estimate = planned(60)
    assert estimate.seconds(0) == 60
    assert estimate.seconds(45) == 15
    assert estimate.seconds(61) is None
    assert planned(None).seconds(0) is None


def test_a_constant_pace_is_known_from_the_first_step_and_never_goes_up() -> None:
    estimate = planned(None)
    found = []
    for done in range(1, 100):
        estimate.report(step(done), 2.0 * done)
        found.append(known(estimate, 2.0 * done))
        assert found[-1] == pytest.approx(2.0 * (100 - done))
    assert all(later < earlier for earlier, later in pairwise(found))
    estimate.report(step(100), 200.0)
    assert estimate.seconds(200.0) == 0


def test_between_steps_the_time_runs_down_and_a_late_step_does_not_reach_zero() -> None:
    estimate = planned(None)
    for done in range(1, 51):
        estimate.report(step(done), 10.0 * done)
    assert known(estimate, 504.0) == pytest.approx(496)
    assert known(estimate, 510.0) == pytest.approx(490)
    late = known(estimate, 900.0)  # the next step takes 400 seconds already
    assert late > 490


def test_a_pace_that_changes_is_followed_by_its_recent_steps() -> None:
    estimate = planned(None)
    for done in range(1, 21):
        estimate.report(step(done), 1.0 * done)
    for done in range(21, 81):
        estimate.report(step(done), 20 + 5.0 * (done - 20))
    assert known(estimate, 320.0) == pytest.approx(5.0 * 20, rel=0.01)


@pytest.mark.parametrize("factor", [0.1, 10.0], ids=["too short", "too long"])
def test_a_plan_that_was_wrong_by_ten_times_is_left_behind(factor: float) -> None:
    estimate = planned(100 * factor)  # every step takes a second
    for done in range(1, 21):
        estimate.report(step(done), float(done))
        if done == 10:
            assert known(estimate, 10.0) == pytest.approx(90, rel=0.25)
    assert known(estimate, 20.0) == pytest.approx(80, rel=0.12)


def test_one_step_counts_as_much_as_the_plan() -> None:
    estimate = planned(400)
    estimate.report(step(1), 1.0)
    assert known(estimate, 1.0) == pytest.approx(99 * 2)  # the geometric mean of 4 seconds and 1


def test_a_resumed_phase_is_judged_by_what_it_does_now() -> None:
    estimate = planned(1000)
    estimate.report(step(900, 1000), 3.0)  # 899 steps of an earlier run, and one that took three seconds
    assert known(estimate, 3.0) == pytest.approx(100)  # no pace yet: a tenth of the plan is left
    for done in range(901, 951):
        estimate.report(step(done, 1000), 3.0 * (done - 899))
    assert known(estimate, 153.0) == pytest.approx(150, rel=0.05)


def test_an_unknown_total_has_no_time_left() -> None:
    estimate = planned(None)
    estimate.report(step(3, 0), 4.0)
    assert estimate.seconds(4.0) is None
    estimate = planned(None)
    estimate.report(step(5, 100), 4.0)  # the first report of a resumed phase has no pace
    assert estimate.seconds(4.0) is None


def test_steps_that_do_not_count_leave_the_plan() -> None:
    """As of Lanczos, which has converged values only after many products."""
    estimate = planned(60)
    for product in range(1, 20):
        estimate.report(step(0, 5), float(product))
    assert known(estimate, 19.0) == pytest.approx(41)
    assert estimate.seconds(70.0) is None
    estimate.report(step(4, 5), 80.0)
    assert 0 < known(estimate, 80.0) < 30


def test_phases_of_unlike_steps_are_added_as_planned() -> None:
    estimate = planned(130, first=100, second=30)
    assert estimate.seconds(0) == 130
    estimate.report(step(50, 100, "first"), 0.0)
    assert known(estimate, 0.0) == pytest.approx(80)
    for done in range(51, 101):
        estimate.report(step(done, 100, "first"), 0.5 * (done - 50))
    assert known(estimate, 25.0) == pytest.approx(30 * 0.5**0.75, rel=0.05)  # half of what was planned
    assert estimate.report(step(1, 3, "second"), 35.0)
    assert not estimate.report(step(2, 3, "second"), 45.0)
    assert known(estimate, 45.0) == pytest.approx(10, rel=0.25)


def test_a_short_phase_that_takes_long_says_little_of_the_others() -> None:
    estimate = planned(101, first=1, second=100)
    estimate.report(step(1, 1, "first"), 10.0)
    assert known(estimate, 10.0) == pytest.approx(100 * 10 ** (1 / 26), rel=0.05)


def test_a_phase_that_the_plan_does_not_know_has_its_own_pace() -> None:
    estimate = planned(30, second=30)
    for done in range(1, 11):
        estimate.report(step(done, 20, "extra"), 2.0 * done)
    assert known(estimate, 20.0) == pytest.approx(20 + 30)
    whole = planned(100)
    for done in range(1, 101):
        whole.report(step(done, 100, "one"), float(done))
    whole.report(step(1, 10, "two"), 105.0)
    assert known(whole, 105.0) == pytest.approx(45)


def test_parts_of_a_phase_go_on_where_the_part_before_ended() -> None:
    """As planes of a surface, whose points are counted together, with products between them."""
    estimate = planned(200, plane=200)
    for done in range(1, 51):
        estimate.report(step(done, 100, "plane 0"), float(done))
    assert estimate.report(step(0, 1, "products 0"), 52.0)
    assert estimate.report(step(51, 100, "plane 1"), 53.0)
    assert known(estimate, 53.0) == pytest.approx(49 * 1.1, rel=0.1)


def test_a_long_measurement_keeps_few_reports() -> None:
    estimate = planned(None)
    for done in range(1, 20_001):
        estimate.report(step(done, 40_000), 0.5 * done)
    assert len(estimate._current.reports) <= MAX_REPORTS  # type: ignore[union-attr]
    assert known(estimate, 10_000.0) == pytest.approx(10_000, rel=0.01)
