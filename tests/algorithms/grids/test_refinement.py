"""Adaptive sampling of a grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from landscape.algorithms.grids.refinement import RefinedGrid, interpolate, interpolate_linearly, refine


def driven(function: np.ndarray, tol: float) -> tuple[RefinedGrid, list[tuple[int, ...]]]:
    asking, asked = refine(function.shape, tol), []
    wanted = next(asking)
    while True:
        asked += wanted
        try:
            wanted = asking.send([float(function[point]) for point in wanted])
        except StopIteration as end:
            return end.value, asked


def grid(count: int = 51, reach: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    axis = np.linspace(-reach, reach, count)
    x, y = np.meshgrid(axis, axis)
    return x, y


SURFACES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "bowl": lambda x, y: 0.01 + x**2 + 30 * (x + y) ** 2,
    "valley": lambda x, y: 0.1 + (1 - 2 * x) ** 2 + 20 * (y - 4 * x**2) ** 2,
    "wells": lambda x, y: 1.05 - np.exp(-20 * ((x - 0.5) ** 2 + y**2)) - 0.9 * np.exp(-20 * ((x + 0.5) ** 2 + y**2)),
    "signs": lambda x, y: np.sin(3 * x) * np.cos(2 * y),
    "steep": lambda x, y: 1e-3 + np.expm1(6 * np.hypot(x, y)),
}


@pytest.mark.parametrize("name", list(SURFACES))
def test_every_point_is_within_the_tolerance_at_a_fraction_of_the_evaluations(name: str) -> None:
    function = SURFACES[name](*grid())
    found, asked = driven(function, 0.01)
    errors = np.abs(found.values - function)
    assert errors.max() <= 0.01 * np.ptp(function)
    assert len(asked) <= 0.4 * function.size
    assert len(asked) == len(set(asked)) == found.evaluated.sum()  # nothing is asked twice
    assert np.array_equal(found.values[found.evaluated], function[found.evaluated])
    assert not found.errors[found.evaluated].any()
    missing = ~found.evaluated
    assert np.mean(errors[missing] <= found.errors[missing]) > 0.98


def test_a_smaller_tolerance_takes_more_points_and_is_met() -> None:
    function = SURFACES["valley"](*grid())
    counts = []
    for tol in (0.05, 0.01, 0.002):
        found, asked = driven(function, tol)
        assert np.abs(found.values - function).max() <= tol * np.ptp(function)
        counts.append(len(asked))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_a_kink_is_followed() -> None:
    x, y = grid()
    function = np.abs(x + 0.313 * y) + 0.01
    found, asked = driven(function, 0.01)
    assert np.abs(found.values - function).max() <= 0.01 * np.ptp(function)
    assert len(asked) < function.size


def test_basins_are_true_beside_high_walls() -> None:
    """A tolerance relative to the range alone would not see a basin that is 1e5 times lower than the corners."""
    x, y = grid()
    function = 1e-3 * (1 + 400 * (x**2 + y**2)) + 100 * (x**2 + y**2) ** 3
    found, _ = driven(function, 0.01)
    assert (np.abs(found.values - function) / function).max() < 0.1
    assert found.values.argmin() == function.argmin()


@pytest.mark.parametrize("waves", [(5, 8, 13, 4), (4, 8, 10, 11), (7, 10, 11, 3), (5, 12, 9, 3)], ids=str)
def test_fast_waves_are_true_on_the_border_too(waves: tuple[int, ...]) -> None:
    """Without tests on the border these are off by up to 1.7 times the tolerance there."""
    x, y = grid(26)
    a, b, c, d = waves
    function = np.sin(a * x + b * y) + np.cos(c * x - d * y)
    found, _ = driven(function, 0.01)
    assert np.abs(found.values - function).max() <= 0.01 * np.ptp(function)


def test_lines_too() -> None:
    x = np.linspace(-1.5, 1.5, 201)
    function = (x**2 - 1) ** 2 + 0.1
    found, asked = driven(function, 0.01)
    assert np.abs(found.values - function).max() <= 0.01 * np.ptp(function)
    assert len(asked) < 0.8 * len(x)


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (1, 9), (7,), (51, 2)])
def test_small_and_narrow_grids(shape: tuple[int, ...]) -> None:
    function = np.arange(np.prod(shape), dtype=float).reshape(shape) + 1
    found, asked = driven(function, 0.01)
    assert np.allclose(found.values, function, rtol=0.05)
    assert len(asked) == len(set(asked))


def test_near_what_is_not_finite_every_point_is_evaluated() -> None:
    x, y = grid(33)
    function = 1 + x**2 + y**2
    function[(x > 0.6) & (y > 0.55)] = np.nan
    function[10, 12] = np.inf
    found, _ = driven(function, 0.01)
    broken = ~np.isfinite(function)
    assert np.array_equal(np.isnan(found.values), np.isnan(function))
    assert np.abs(found.values - function)[~broken].max() < 0.01 * 2
    lines = np.full((3, 51), np.nan)
    lines[1] = np.linspace(1, 2, 51) ** 2  # what is finite lies on one line
    assert np.array_equal(driven(lines, 0.01)[0].values, lines, equal_nan=True)
    everything, asked = driven(np.full((9, 9), np.nan), 0.01)
    assert len(asked) == 81
    assert np.isnan(everything.values).all()


def test_the_linear_filling_never_overshoots() -> None:
    x, y = grid(9)
    values, known = np.clip(x + y, 0, 1), np.zeros((9, 9), bool)
    known[::4, ::4] = True
    filled = interpolate_linearly(np.where(known, values, np.nan), known)
    assert np.array_equal(filled[known], values[known])
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert np.allclose(interpolate_linearly(np.array([0, np.nan, 4.0]), np.array([True, False, True])), [0, 2, 4])


def test_too_few_points_to_interpolate_from_give_nan() -> None:
    values = np.full((3, 3), np.nan)
    assert np.isnan(interpolate(values, np.zeros((3, 3), bool), [(1, 1)])).all()
