"""Bits by layer against all combinations, and what is refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from landscape.analyses.sensitivity.allocation import allocate_bits, allocation_costs, solve_knapsack
from landscape.analyses.sensitivity.weight_changes import WeightChange
from landscape.errors import NumericalError

BITS = np.array([8, 4, 3, 2])


def best_of_all(costs: np.ndarray, sizes: np.ndarray, budget: float) -> float:
    """The smallest summed cost of all combinations within the budget."""
    places = product(range(len(BITS)), repeat=len(sizes))
    fitting = [place for place in places if BITS[list(place)] @ sizes <= budget * sizes.sum()]
    return min(sum(costs[layer, choice] for layer, choice in enumerate(place)) for place in fitting)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6], ids=["tiny", "plain", "large"])
@pytest.mark.parametrize("budget", [2.0, 2.5, 3.7, 4.2, 8.0])
def test_no_combination_is_better(budget: float, scale: float) -> None:
    for seed in range(4):
        random = np.random.RandomState(seed)
        sizes = random.randint(10, 5000, 5)
        costs = scale * random.lognormal(sigma=2, size=(5, 4)) * np.sign(random.randn(5, 4) + 1)
        found = allocate_bits(costs, sizes, BITS, budget)
        assert found.mean_bits <= budget
        assert found.expected == pytest.approx(best_of_all(costs, sizes, budget), rel=1e-6)


def test_the_uniform_allocation_has_the_most_bits_within_the_budget() -> None:
    costs, sizes = np.ones((2, 4)), np.array([3, 5])
    assert [allocate_bits(costs, sizes, BITS, budget).uniform for budget in (2.5, 3.0, 4.9, 20.0)] == [2, 3, 4, 8]


def test_sensitive_layers_get_the_bits_of_insensitive_ones() -> None:
    costs = np.array([[0.0, 1.0, 4.0, 9.0], [0.0, 0.01, 0.04, 0.09]])
    assert allocate_bits(costs, np.array([100, 100]), BITS, 5.5).bits.tolist() == [8, 3]


def test_a_budget_that_is_not_exact_in_binary_is_not_missed() -> None:
    bits = allocate_bits(np.array([[0.0, 1.0, 4.0, 9.0]] * 10), np.ones(10, dtype=int), BITS, 4.4).bits
    assert bits.sum() == 44


def test_large_layers_stay_within_the_budget() -> None:
    sizes = np.array([350_000_001, 120_000_003, 77])
    costs = np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 1e-5, 2e-5, 1.0], [0.0, 1e-9, 1.0, 2.0]])
    found = allocate_bits(costs, sizes, BITS, 3.99)
    assert found.mean_bits <= 3.99
    assert found.expected == pytest.approx(best_of_all(costs, sizes, 3.99))


def test_changes_that_are_not_finite_choose_nothing() -> None:
    with pytest.raises(NumericalError, match="not finite"):
        allocate_bits(np.array([[0.0, np.nan, 1.0, 1.0]]), np.array([5]), BITS, 4)


def test_a_capacity_that_nothing_fits_is_an_error() -> None:
    with pytest.raises(NumericalError, match="no bits were found"):
        solve_knapsack(np.ones((2, 2)), np.full((2, 2), 3.0), 5)


def test_only_roundings_are_choices() -> None:
    bits, costs = allocation_costs(
        [WeightChange(bits=8), WeightChange(share=0.5), WeightChange(bits=4)], np.arange(6.0).reshape(2, 3)
    )
    assert bits.tolist() == [8, 4]
    assert costs.tolist() == [[0.0, 2.0], [3.0, 5.0]]
