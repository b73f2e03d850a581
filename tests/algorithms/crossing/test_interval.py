"""The interval of a crossing by the choice of the samples: closed forms, its coverage, and its open ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.algorithms.crossing.interval import ChangeCurve

STEPS = np.array([0.5, 1.0, 1.4])


def parabolas(random: np.random.Generator, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and half curvatures of samples whose means are -2 and 2 in the population: it crosses at 1."""
    return random.normal(-2, 1.5, samples), 2 * random.exponential(1, samples)


def curve_of(slopes: np.ndarray, curvatures: np.ndarray, steps: np.ndarray = STEPS, noise: float = 0.0) -> ChangeCurve:
    changes = np.outer(steps, slopes) + np.outer(steps**2, curvatures)
    return ChangeCurve.of(steps, changes, np.ones(len(slopes)), noise)


def test_the_interval_is_that_of_fieller() -> None:
    """Of parabolas a_i x + b_i x^2 it holds the x at which the mean of a_i + b_i x is within 1.96 errors of 0."""
    a, b = parabolas(np.random.default_rng(0), 200)
    covariance = np.cov(a, b) / 200
    quadratic = [
        b.mean() ** 2 - 1.96**2 * covariance[1, 1],
        2 * (a.mean() * b.mean() - 1.96**2 * covariance[0, 1]),
        a.mean() ** 2 - 1.96**2 * covariance[0, 0],
    ]
    low, high = curve_of(a, b).interval(-a.mean() / b.mean())
    assert sorted(np.roots(quadratic)) == pytest.approx([low, high], rel=1e-9)


def test_points_do_not_matter_for_parabolas() -> None:
    a, b = parabolas(np.random.default_rng(1), 100)
    root = -a.mean() / b.mean()
    few = curve_of(a, b, np.array([0.9, 1.1])).interval(root)
    assert few == pytest.approx(curve_of(a, b, np.array([0.2, 0.95, 1.05, 7.0])).interval(root), rel=1e-9)


def test_the_interval_covers_the_crossing_of_the_population_in_95_of_100_draws() -> None:
    random, inside = np.random.default_rng(2), 0
    for _ in range(1000):
        a, b = parabolas(random, 80)
        low, high = curve_of(a, b).interval(-a.mean() / b.mean())
        inside += low <= 1 <= high
    assert abs(inside / 1000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 1000)


def test_samples_that_count_several_terms_weigh_as_such() -> None:
    a, b = parabolas(np.random.default_rng(3), 40)
    twice = np.outer(STEPS, 2 * a) + np.outer(STEPS**2, 2 * b)
    root = -a.mean() / b.mean()
    assert ChangeCurve.of(STEPS, twice, np.full(40, 2.0)).interval(root) == pytest.approx(curve_of(a, b).interval(root))


def test_errors_of_changes_are_those_of_a_mean() -> None:
    a, b = parabolas(np.random.default_rng(4), 50)
    changes = a * 1.4 + b * 1.4**2
    assert curve_of(a, b).errors()[2] == pytest.approx(changes.std(ddof=1) / math.sqrt(50), rel=1e-12)


def test_rounding_widens_the_interval() -> None:
    a, b = np.full(20, -2.0), np.full(20, 2.0)
    assert curve_of(a, b).interval(1.0) == pytest.approx((1.0, 1.0), rel=1e-9)
    low, high = curve_of(a, b, noise=0.01).interval(1.0)  # c = 2 x (x - 1) is within .0196 of 0
    assert (2 * low * (1 - low), 2 * high * (high - 1)) == pytest.approx((0.0196, 0.0196), rel=1e-6)


def test_an_end_without_a_point_near_it_is_named() -> None:
    a, b = parabolas(np.random.default_rng(6), 100)
    root = -a.mean() / b.mean()
    near = np.array([0.98 * root, 1.02 * root])
    low, high = curve_of(a, b, near).interval(root)
    assert curve_of(a, b, near).end_without_support(root) == high
    assert curve_of(a, b, np.array([*near, high])).end_without_support(root) == pytest.approx(low)
    assert curve_of(a, b, np.array([*near, low, high])).end_without_support(root) is None


def test_an_open_end_is_looked_for_beyond_the_root() -> None:
    a, b = np.full(20, -2.0), np.array([-8.0, 12.0] * 10)
    assert curve_of(a, b, np.array([0.5, 0.98, 1.02])).end_without_support(1.0) == 1.5


def test_without_a_descent_beyond_the_error_the_interval_begins_at_0() -> None:
    a, b = np.array([-6.0, 4.0] * 10), np.full(20, 1.0)
    low, high = curve_of(a, b).interval(1.0)
    assert low == 0
    assert high > 1.4


def test_without_a_rise_beyond_the_error_the_interval_has_no_upper_end() -> None:
    a, b = np.full(20, -2.0), np.array([-8.0, 12.0] * 10)
    assert curve_of(a, b).interval(1.0)[1] == math.inf


def test_points_that_are_not_finite_are_left_out() -> None:
    a, b = parabolas(np.random.default_rng(5), 60)
    steps = np.array([0.5, 100.0, 1.4])
    changes = np.outer(steps, a) + np.outer(steps**2, b)
    changes[1, 3] = math.nan
    root = -a.mean() / b.mean()
    assert ChangeCurve.of(steps, changes, np.ones(60)).interval(root) == pytest.approx(curve_of(a, b).interval(root))
