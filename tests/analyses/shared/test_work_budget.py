"""What a budget buys, and times in words."""

from __future__ import annotations

import pytest

from landscape.analyses.shared.work_budget import best_within, describe_price, describe_seconds


@pytest.mark.parametrize(
    ("budget", "bought"), [(100.0, 50), (50.0, 50), (49.9, 20), (20.0, 20), (5.0, 5), (4.9, 5), (0.1, 5)]
)
def test_the_dearest_that_the_budget_pays_is_bought_and_the_cheapest_if_none_is(budget: float, bought: int) -> None:
    assert best_within((50, 20, 5), float, budget) == bought


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.123, "0.12 s"),
        (59, "59 s"),
        (60, "1 min"),
        (150, "2.5 min"),
        (3600, "1 h"),
        (9000, "2.5 h"),
        (172800, "2 days"),
    ],
)
def test_times_have_two_digits_in_the_largest_unit(seconds: float, words: str) -> None:
    assert describe_seconds(seconds) == f"about {words}"


def test_a_smallest_look_beyond_the_budget_says_how_many_samples_would_fit() -> None:
    assert (
        describe_price(60.0, 30.0, 1300, smallest=True)
        == "60 counted seconds, the fewest: --limit 650 fits --budget 30"
    )
    assert describe_price(60.0, 30.0, 1300, smallest=False) == "60 counted seconds"
    assert describe_price(29.0, 30.0, 1300, smallest=True) == "29 counted seconds"
    assert "--limit 1 " in describe_price(1e9, 30.0, 5, smallest=True)
