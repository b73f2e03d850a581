"""Minima on grids and the passes between them, on functions whose minima are known."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.grids.merge_tree import merge_tree

X = np.linspace(-1, 1, 25)


def test_a_bowl_has_one_minimum() -> None:
    x, y = np.meshgrid(X, X)
    tree = merge_tree(x**2 + y**2, np.zeros((25, 25)))
    assert tree.places.tolist() == [312]
    assert tree.smad == 0
    assert np.isnan(tree.passes).all()


def test_a_double_well_of_known_depth() -> None:
    """(x^2 - 1/4)^2 + y^2: minima of 0 at x = -1/2 and 1/2, the saddle of 1/16 between them."""
    x, y = np.meshgrid(X, X)
    tree = merge_tree((x**2 - 0.25) ** 2 + y**2, np.zeros((25, 25)))
    assert tree.smad == pytest.approx(0.0625)
    assert tree.values.tolist() == [0, 0]
    assert tree.passes[1] == pytest.approx(0.0625)
    assert np.isnan(tree.passes[0])


def test_minima_on_a_line_are_paired_with_their_passes() -> None:
    tree = merge_tree(np.array([5, 1, 4, 0, 3, 2, 6.0]), np.zeros(7))
    assert tree.values.tolist() == [0, 1, 2]
    assert tree.places.tolist() == [3, 1, 5]
    assert tree.passes[1:].tolist() == [4, 3]
    assert sorted(tree.edges.tolist()) == [1, 3, 3]  # 2 -> 3, 0 -> 3, 1 -> 4


def test_what_is_shallower_than_the_noise_is_no_minimum() -> None:
    line = np.array([5, 1, 4, 0, 2.1, 2, 6.0])
    assert merge_tree(line, np.full(7, 0.2)).values.tolist() == [0, 1]
    assert merge_tree(line, np.zeros(7)).values.tolist() == [0, 1, 2]


def test_what_is_not_finite_is_in_no_basin() -> None:
    tree = merge_tree(np.array([0, 1, np.nan, 0.2, 0.5, 0.1, 0.9]), np.zeros(7))
    assert tree.values.tolist() == [0, 0.1, 0.2]  # the wall of NaN parts two basins: neither has a pass
    assert np.array_equal(tree.passes, [np.nan, np.nan, 0.5], equal_nan=True)
    assert sorted(tree.edges.tolist()) == pytest.approx([0.3, 0.4])
    assert merge_tree(np.array([1, np.nan, 0, 3, np.inf, 2]), np.zeros(6)).values.tolist() == [0, 1, 2]
    assert merge_tree(np.full((2, 2), np.nan), np.zeros((2, 2))).places.tolist() == []
