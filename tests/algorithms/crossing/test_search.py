"""The search for a crossing: functions with known crossings, and how it ends where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from landscape.algorithms.crossing.search import CrossingSearch

FIRST_STEPS = (1e-3, 0.1, 1.0, 3.0, 100.0)


def searched(
    change: Callable[[float], float], first: float, slope: float | None = None, evaluations: int = 8, tol: float = 0.05
) -> CrossingSearch:
    """The search after its end, or after so many evaluations."""
    search = CrossingSearch(first, tol, slope)
    while len(search.steps) < evaluations and not search.converged:
        step = search.next_step()
        search = search.with_point(step, change(step))
    return search


@pytest.mark.parametrize("slope", [-3.0, None], ids=["slope-known", "slope-unknown"])
@pytest.mark.parametrize("first", FIRST_STEPS)
def test_the_crossing_of_a_parabola_is_exact(first: float, slope: float | None) -> None:
    search = searched(lambda x: -3 * x + 0.85 * x**2, first, slope)
    assert search.converged
    assert search.root == pytest.approx(3 / 0.85, rel=1e-12)
    assert search.lower < 3 / 0.85 < search.upper


@pytest.mark.parametrize(
    ("change", "crossing"),
    [
        pytest.param(lambda x: math.expm1(min(x, 700)) - 2 * x, 1.2564312086261697, id="exponential"),
        pytest.param(lambda x: -x + 5 * (x - math.log1p(x)), 0.5385560, id="becoming-linear"),
        pytest.param(lambda x: x**4 - x, 1.0, id="quartic"),
    ],
)
@pytest.mark.parametrize("first", [0.1, 1.0, 3.0, 30.0])
def test_other_functions_cross_within_the_bracket_in_few_evaluations(
    change: Callable[[float], float], crossing: float, first: float
) -> None:
    search = searched(change, first, -1.0)  # the slope of all three
    assert search.converged
    assert search.lower <= crossing <= search.upper
    assert search.root == pytest.approx(crossing, rel=5e-3)


def test_the_smallest_crossing_that_points_show_is_kept() -> None:
    """Below 0 up to 1, above up to 2, below up to 3: a point in the second valley does not hide the first crossing."""
    search = CrossingSearch(2.5, 0.05)
    for step, change in ((2.5, -1.0), (1.5, 1.0), (0.5, -1.0)):
        search = search.with_point(step, change)
    assert (search.lower, search.upper) == (0.5, 1.5)
    assert 0.5 < search.next_step() < 1.5


def test_a_function_that_never_rises_is_followed_ever_further() -> None:
    search = searched(lambda x: -x, 1.0, -1.0)
    assert search.upper == math.inf
    assert search.lower >= 8.0**7
    assert math.isnan(search.root)


def test_a_function_that_rises_at_once_is_followed_ever_closer() -> None:
    search = searched(lambda x: x, 1.0, 1.0)
    assert search.lower == 0
    assert search.upper <= 8.0**-7
    assert math.isnan(search.root)


@pytest.mark.parametrize("beyond", [math.nan, math.inf], ids=["nan", "infinity"])
def test_values_that_are_not_finite_bound_the_bracket_from_above(beyond: float) -> None:
    search = searched(lambda x: -x if x < 2 else beyond, 100.0, -1.0, evaluations=30)
    assert search.converged
    assert search.lower < 2 <= search.upper
    assert math.isnan(search.root)


def test_a_change_of_exactly_zero_is_the_crossing() -> None:
    search = searched(lambda x: x**2 - x, 1.0, -1.0)
    assert search.converged
    assert search.root == pytest.approx(1.0, rel=1e-12)


def test_the_search_is_a_function_of_its_points() -> None:
    whole = searched(lambda x: math.expm1(x) - 2 * x, 0.1)
    again = CrossingSearch(0.1, 0.05, None, whole.steps[:3], whole.changes[:3])
    assert again.next_step() == whole.steps[3]


def test_where_the_change_per_step_is_strongly_curved_the_middle_is_next() -> None:
    """h = x^3 - 1 between .5 and 4.5: interpolation from its ends, and from 0, would stay at the lower one."""
    search = CrossingSearch(30.0, 0.05, -1.0)
    for step in (30.0, 0.5, 4.5):
        search = search.with_point(step, step**4 - step)
    assert search.next_step() == pytest.approx(2.25**0.5)


def test_where_it_is_straight_the_root_is_next() -> None:
    search = CrossingSearch(30.0, 0.05, -1.0)
    for step in (30.0, 0.5, 4.5):
        search = search.with_point(step, step**2 / 2 - step)
    assert search.next_step() == pytest.approx(2.0, rel=0.02)
