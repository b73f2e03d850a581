"""Numbers that say what a surface looks like."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.grids.shape import barrier, basin_area, basin_width, roughness, second_difference, variation

X = np.linspace(-1, 1, 25)


def test_the_second_difference_of_a_parabola_is_its_curvature() -> None:
    values = 3.5 * X**2 + X + 2
    assert second_difference(values, X[1] - X[0], 12) == pytest.approx(7, rel=1e-10)
    assert second_difference(values, X[1] - X[0], 0) is None
    assert second_difference(values, X[1] - X[0], 24) is None


def test_total_variation_counts_ups_and_downs() -> None:
    assert variation(X) == pytest.approx(1)
    assert variation(X**2) == pytest.approx(2)
    assert variation(np.cos(4 * np.pi * np.linspace(0, 1, 41))) == pytest.approx(4)
    assert np.isnan(variation(np.ones(3)))
    assert np.isnan(variation(np.array([1, np.inf, 2])))


def test_the_roughness_index_is_the_spread_of_variations() -> None:
    """std(T, ddof=1) / mean(T), T = sum |f_j - f_j+1| / (2 l (max f - min f))."""
    lines = [X**2, X, np.sin(9 * X)]
    spans = [np.abs(np.diff(f)).sum() / np.ptp(f) / (2 * 1.0) for f in lines]
    expected = np.std(spans, ddof=1) / np.mean(spans)
    assert roughness([variation(f) for f in lines]) == pytest.approx(expected)
    assert roughness([1.0]) is None
    assert roughness([1.5, np.nan, 1.5]) == 0


def test_the_barrier_is_the_rise_above_the_chord() -> None:
    t = np.linspace(-0.5, 1.5, 41)
    assert barrier(4 * t * (1 - t) + 2 + t, t) == pytest.approx(1)
    assert barrier(t**2, t) == 0
    assert barrier(np.full(41, 0.3), t) == 0  # exactly
    assert barrier(np.where(t < 0, 100.0, 0.0), t) == 0  # what lies beyond the ends does not count
    assert np.isnan(barrier(np.where(np.isclose(t, 0.5), np.nan, 1.0), t))


def test_the_width_of_a_basin_is_interpolated_to_the_level() -> None:
    found = basin_width(np.abs(X), X, 12, 0.55)
    assert found.value == pytest.approx(1.1)
    assert not found.open
    assert basin_width(X**2, X, 12, 0.25).value == pytest.approx(1, rel=1e-3)
    assert basin_width(X**2, X, 12, 4.0).open
    assert basin_width(X**2, X, 12, 4.0).value == pytest.approx(2)
    assert basin_width(X**2 + 1, X, 12, 0.5).value == 0
    walled = np.where(np.abs(X) > 0.5, np.inf, 0.0)
    assert basin_width(walled, X, 12, 1.0).value == pytest.approx(1.0, abs=0.1)
    two = np.minimum((X - 0.5) ** 2, (X + 0.5) ** 2)
    assert basin_width(two, X, 6, 0.09).value == pytest.approx(0.6, abs=0.01)  # the other basin is not its own


def test_where_nothing_was_seen_to_rise_the_basin_is_open() -> None:
    line = np.where(np.abs(X) > 0.5, np.nan, 0.1)
    assert basin_width(line, X, 12, 1.0).open
    x, y = np.meshgrid(X, X)
    assert basin_area(np.where(np.hypot(x, y) > 0.5, np.nan, 0.1), (X, X), (12, 12), 1.0).open
    assert not basin_area(np.where(np.hypot(x, y) > 0.5, np.inf, 0.1), (X, X), (12, 12), 1.0).open


def test_the_area_of_a_basin_is_its_connected_part() -> None:
    x, y = np.meshgrid(X, X)
    two = np.minimum((x - 0.5) ** 2, (x + 0.5) ** 2) + y**2
    found = basin_area(two, (X, X), (12, 6), 0.09)
    assert found.value == pytest.approx(np.pi * 0.09, rel=0.05)
    assert not found.open
    assert basin_area(two, (X, X), (12, 6), 5.0).open
    assert basin_area(two, (X, X), (12, 6), 5.0).value == pytest.approx(4, rel=0.02)
    assert basin_area(two + 1, (X, X), (12, 6), 0.5).value == 0


def test_the_area_of_a_basin_smaller_than_a_cell_is_interpolated_like_its_widths() -> None:
    axis = np.linspace(-1, 1, 5)
    x, y = np.meshgrid(axis, 2 * axis)
    cone = np.abs(x) + np.abs(y) / 2
    found = basin_area(cone, (2 * axis, axis), (2, 2), 0.2)
    width_x = basin_width(cone[2], axis, 2, 0.2).value
    width_y = basin_width(cone[:, 2], 2 * axis, 2, 0.2).value
    assert found.value == pytest.approx(width_x * width_y / 2, rel=0.5)
