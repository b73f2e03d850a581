"""Births and deaths of the merge tree against persistence by union-find over edges, written independently."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from landscape.algorithms.grids.merge_tree import merge_tree
from landscape.algorithms.grids.shape import basin_area, basin_region


def pairs_by_edges(values: np.ndarray) -> list[tuple[float, float]]:
    """Births and deaths of components of sublevel sets: Kruskal's algorithm over edges by their higher end.

    The younger component dies (the elder rule); pairs of length 0 are left out, and the eldest dies at infinity.
    """
    points = [index for index in np.ndindex(values.shape) if np.isfinite(values[index])]
    group = {point: {point} for point in points}
    birth = {id(group[point]): values[point] for point in points}
    moves = [move for move in product((-1, 0, 1), repeat=values.ndim) if any(move)]
    edges = []
    for point in points:
        for move in moves:
            other = tuple(int(p + m) for p, m in zip(point, move, strict=True))
            if other in group and point < other:
                edges.append((max(values[point], values[other]), point, other))
    found = []
    for height, one, other in sorted(edges):
        first, second = group[one], group[other]
        if first is second:
            continue
        elder, younger = sorted((first, second), key=lambda component: birth[id(component)])
        if height > birth[id(younger)]:
            found.append((float(birth[id(younger)]), float(height)))
        elder |= younger
        for point in younger:
            group[point] = elder
    remaining = {id(component): component for component in group.values()}
    return sorted(found + [(float(birth[key]), np.inf) for key in remaining])


@pytest.mark.parametrize(
    "shape", [(40,), (7, 9), (12, 12), (1, 20)], ids=["line", "small-plane", "plane", "thin-plane"]
)
@pytest.mark.parametrize("seed", range(5))
def test_births_and_deaths_on_random_grids(shape: tuple[int, ...], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=shape)
    tree = merge_tree(values, np.zeros(shape))
    deaths = np.where(np.isnan(tree.passes), np.inf, tree.passes)
    assert sorted(zip(tree.values.tolist(), deaths.tolist(), strict=True)) == pairs_by_edges(values)


@pytest.mark.parametrize("seed", range(3))
def test_walls_of_nan_part_components(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(9, 9))
    values[4] = np.nan
    tree = merge_tree(values, np.zeros((9, 9)))
    deaths = np.where(np.isnan(tree.passes), np.inf, tree.passes)
    found = pairs_by_edges(values)
    assert sum(np.isinf(death) for _, death in found) == 2
    assert sorted(zip(tree.values.tolist(), deaths.tolist(), strict=True)) == found


def test_noise_removes_the_pairs_that_are_shorter() -> None:
    values = np.random.default_rng(7).normal(size=60)
    tree = merge_tree(values, np.full(60, 0.8))
    kept = [pair for pair in pairs_by_edges(values) if pair[1] - pair[0] > 0.8]
    assert sorted(tree.values.tolist()) == [birth for birth, _ in kept]


def test_the_error_of_a_pair_is_the_larger_one_of_its_ends() -> None:
    values, noise = np.array([5.0, 1, 4, 0, 6]), np.array([0, 0.1, 0.3, 0.2, 0])
    tree = merge_tree(values, noise)
    assert tree.values.tolist() == [0, 1]
    assert tree.errors.tolist() == [0.2, 0.3]


def test_a_region_s_extents_are_those_of_its_shape() -> None:
    """An ellipse of half axes .6 along columns and .3 along rows."""
    axis = np.linspace(-1, 1, 41)
    x, y = np.meshgrid(axis, axis)
    region = basin_region((x / 0.6) ** 2 + (y / 0.3) ** 2, (axis, axis), (20, 20), 1.0)
    assert region.extents == pytest.approx((0.6, 1.2), abs=0.03)
    assert region.area.value == pytest.approx(np.pi * 0.18, rel=0.02)
    assert region.area == basin_area((x / 0.6) ** 2 + (y / 0.3) ** 2, (axis, axis), (20, 20), 1.0)
