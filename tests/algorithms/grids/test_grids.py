"""Coordinates on which the checkpoint lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.algorithms.grids.grids import center_index, grid_coordinates

lengths = st.floats(0.01, 100)


@given(st.integers(2, 60), lengths, lengths)
def test_zero_is_on_every_grid_and_the_range_is_kept(count: int, below: float, above: float) -> None:
    grid = grid_coordinates(count, -below, above)
    assert len(grid) == count
    assert grid[center_index(grid)] == 0
    steps = np.diff(grid)
    assert np.allclose(steps, steps[0])
    assert grid[0] >= -below * (1 + 1e-12)
    assert grid[-1] <= above * (1 + 1e-12)
    # no grid with another place for 0 would be wider
    cells = count - 1
    widest = max(
        min(below / left if left else np.inf, above / (cells - left) if cells - left else np.inf)
        for left in range(count)
    )
    assert steps[0] == pytest.approx(widest)


def test_an_odd_symmetric_grid_meets_both_ends_exactly() -> None:
    grid = grid_coordinates(51, -1, 1)
    assert (grid[0], grid[25], grid[-1]) == (-1, 0, 1)
    assert np.allclose(grid, np.linspace(-1, 1, 51), atol=1e-15)
    assert np.allclose(grid_coordinates(4, -1, 1), [-1, -0.5, 0, 0.5])
    assert np.array_equal(grid_coordinates(3, 0, 2), [0, 1, 2])
    assert np.array_equal(grid_coordinates(3, -2, 0), [-2, -1, 0])


@given(st.integers(2, 60), st.floats(0, 3), st.floats(1, 3))
def test_the_other_end_of_a_line_is_on_the_grid_too(count: int, below: float, above: float) -> None:
    grid = grid_coordinates(count, -below, above, unit=True)
    assert len(grid) == count
    assert 0 in grid
    assert 1 in grid
    step = grid[1] - grid[0]
    assert grid[0] > -below - step
    assert grid[-1] < above + step
