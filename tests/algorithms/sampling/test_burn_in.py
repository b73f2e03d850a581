"""The burn-in of chains that come from far away, and of settled ones."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.sampling.burn_in import burn_in


def settled(draws: int = 400) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, draws))


def test_nothing_is_cut_from_settled_chains() -> None:
    assert burn_in(settled()) == 0
    assert burn_in(settled() + 1e8) == 0  # a large mean hides nothing


@pytest.mark.parametrize("scale", [20.0, 50.0], ids=["fast", "slow"])
def test_the_cut_is_where_the_way_from_the_start_is_within_chance(scale: float) -> None:
    way = 30 * np.exp(-np.arange(400) / scale)
    cut = burn_in(settled() + np.array([1, -1, 1, -1])[:, None] * way)
    assert way[cut] < 3  # standard deviations
    assert cut < 6 * scale


def test_at_most_half_of_the_draws_are_cut() -> None:
    assert 100 <= burn_in(settled() + np.maximum(np.linspace(100, -60, 400), 0)) <= 200


def test_heavy_tails_do_not_decide() -> None:
    chains = np.random.default_rng(3).standard_cauchy((4, 400))
    chains[2, 60] = 1e6
    assert burn_in(chains) == 0


def test_an_early_excursion_of_one_chain_is_kept() -> None:
    chains = settled()
    chains[0, 10:14] += 5
    assert burn_in(chains) == 0
