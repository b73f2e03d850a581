"""Measurements keep within their share of the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.callbacks.pace import Pace, share_of
from landscape.errors import UsageError


@pytest.mark.parametrize(("budget", "share"), [("2%", 0.02), (" 50 % ", 0.5), (0.1, 0.1), ("0.25", 0.25), (1, 1.0)])
def test_a_budget_is_a_share_of_the_time(budget: float | str, share: float) -> None:
    assert share_of(budget) == pytest.approx(share)


def test_no_budget_is_no_limit() -> None:
    pace = Pace(share_of(None), clock=lambda: 0.0)
    pace.begin()
    pace.add(100.0)
    assert pace.fits()


@pytest.mark.parametrize("budget", ["0%", 0, -0.1, "101%", 2, "two", "", "nan"])
def test_what_is_no_share_is_refused(budget: float | str) -> None:
    with pytest.raises(UsageError, match="the budget is"):
        share_of(budget)


class Clock:
    """Seconds that pass only when somebody lets them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(0.005, 1.0), st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_at_the_end_of_each_measurement_but_the_first_the_share_is_kept(share: float, step: float, cost: float) -> None:
    clock = Clock()
    pace = Pace(share, clock)
    pace.begin()
    for _ in range(300):
        clock.now += step
        if pace.fits():
            is_first = pace.cost is None
            clock.now += cost
            pace.add(cost)
            assert is_first or pace.overhead <= share * (1 + 1e-9)


def test_a_share_is_used_up_where_steps_are_short() -> None:
    clock, measured = Clock(), 0
    pace = Pace(0.1, clock)
    pace.begin()
    for _ in range(10_000):
        clock.now += 0.01
        if pace.fits():
            clock.now += 0.5
            pace.add(0.5)
            measured += 1
    # 100 s of training and n measurements of .5 s: n / 2 = (100 + n / 2) / 10 at n = 200 / 9
    assert measured == 22


def test_what_is_done_once_is_paid_for_but_not_expected_again() -> None:
    clock = Clock()
    pace = Pace(0.5, clock)
    pace.begin()
    clock.now += 10.0
    pace.add(10.0, once=9.0)
    assert pace.cost == 1.0
    clock.now += 10.9  # (10 + 1) / (20.9 + 1) is above a half
    assert not pace.fits()
    clock.now += 0.1
    assert pace.fits()


def test_the_time_counts_from_the_first_beginning() -> None:
    clock = Clock()
    pace = Pace(0.5, clock)
    assert (pace.elapsed, pace.overhead) == (0.0, 0.0)
    pace.begin()
    clock.now += 8.0
    pace.begin()
    pace.add(2.0)
    assert (pace.elapsed, pace.overhead) == (8.0, 0.25)
