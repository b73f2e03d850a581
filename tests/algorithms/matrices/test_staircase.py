"""The largest products of two lists against sorting all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.algorithms.matrices.staircase import heaviest_prefix, largest_products


def lists(seed: int, p: int, q: int, *, decimals: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    rows, columns = random.rand(p) ** 6, random.rand(q) ** 3
    if decimals is not None:  # ties, and zeros
        rows, columns = rows.round(decimals), columns.round(decimals)
    rows[0] = columns[0] = 1.0
    return np.sort(rows)[::-1], np.sort(columns)[::-1]


def shortest(rows: np.ndarray, columns: np.ndarray, share: float) -> np.ndarray:
    """The mask of the shortest prefix by a stable sort of all products; slack for the order of summation."""
    products = np.outer(rows, columns).ravel()
    order = np.argsort(-products, kind="stable")
    count = int(np.searchsorted(np.cumsum(products[order]), share * products.sum() * (1 - 1e-13))) + 1
    mask = np.zeros(products.size, bool)
    mask[order[:count]] = True
    return mask.reshape(len(rows), len(columns))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("decimals", [None, 2], ids=["distinct", "ties"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 9), (30, 20)], ids=str)
def test_it_is_the_shortest_prefix_with_that_share_of_the_mass(
    share: float, decimals: int | None, shape: tuple[int, int]
) -> None:
    for seed in range(10):
        rows, columns = lists(seed, *shape, decimals=decimals)
        kept = heaviest_prefix(rows, columns, share)
        assert np.array_equal(kept.mask(len(columns)), shortest(rows, columns, share))
        assert kept.count == kept.mask(len(columns)).sum()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.floats(0.0, 1.0))
def test_the_mass_reaches_the_share_and_not_without_the_last_component(seed: int, p: int, q: int, share: float) -> None:
    rows, columns = lists(seed, p, q)
    kept = heaviest_prefix(rows, columns, share)
    products = np.outer(rows, columns)
    mask, total = kept.mask(q), rows.sum() * columns.sum()
    assert kept.mass(rows, columns) == pytest.approx(products[mask].sum(), rel=1e-12)
    if share < 1:
        assert products[mask].sum() >= share * total * (1 - 1e-12)
    if share < 1 and mask.any():
        assert products[mask].sum() - products[mask].min() < share * total * (1 + 1e-12)


def test_sets_are_nested_and_staircases() -> None:
    rows, columns = lists(3, 40, 25, decimals=2)
    masks = [heaviest_prefix(rows, columns, share).mask(25) for share in np.linspace(0.05, 1, 30)]
    assert all((outer | ~inner).all() for inner, outer in pairwise(masks))
    steps = [heaviest_prefix(rows, columns, share).columns for share in (0.3, 0.9)]
    assert all((np.diff(step) <= 0).all() for step in steps)


@pytest.mark.parametrize("scale", [1e-30, 7.3, 1e25])
def test_scaling_either_list_changes_nothing(scale: float) -> None:
    rows, columns = lists(1, 20, 30)
    for share in (0.5, 0.97):
        kept = heaviest_prefix(rows, columns, share).columns
        assert np.array_equal(kept, heaviest_prefix(rows * scale, columns, share).columns)
        assert np.array_equal(kept, heaviest_prefix(rows, columns * scale, share).columns)


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "ties"])
def test_a_number_of_the_largest_products(decimals: int | None) -> None:
    rows, columns = lists(2, 6, 8, decimals=decimals)
    order = np.argsort(-np.outer(rows, columns).ravel(), kind="stable")
    for count in range(1, 49):
        mask = np.zeros(48, bool)
        mask[order[:count]] = True
        assert np.array_equal(largest_products(rows, columns, count).mask(8).ravel(), mask), count
    assert largest_products(rows, columns, 0).count == 0


def test_the_whole_mass_keeps_everything_even_without_mass() -> None:
    rows, columns = np.array([1.0, 0.0]), np.array([2.0, 0.0, 0.0])
    assert heaviest_prefix(rows, columns, 1.0).count == 6
    assert heaviest_prefix(rows, columns, 0.5).count == 1
    assert heaviest_prefix(np.zeros(2), columns, 1.0).count == 6


def test_ties_at_the_cut_are_counted() -> None:
    equal = np.ones(4)
    assert heaviest_prefix(equal, np.ones(1), 0.6).ties == 4
    assert heaviest_prefix(np.array([3.0, 2.0, 1.0]), np.ones(1), 0.6).ties == 0
    near = np.array([1.0, 1.0 - 1e-12])
    assert heaviest_prefix(near, np.ones(1), 0.4).ties == 2
    assert heaviest_prefix(near, np.ones(1), 0.9).ties == 0  # both are kept


def test_a_large_matrix_takes_no_more_memory_than_its_sides() -> None:
    import tracemalloc

    rows, columns = lists(0, 1500, 1500)
    tracemalloc.start()
    heaviest_prefix(rows, columns, 0.9)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 1500 * 8  # the products would take 18 MB
