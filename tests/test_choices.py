"""Names of populations in both spellings, and the confidence of intervals."""

from __future__ import annotations

import pytest
from scipy.stats import norm

from landscape.choices import CONFIDENCE, NORMAL_HALF_WIDTH, population_name, stored_population


def test_the_half_width_belongs_to_the_confidence() -> None:
    assert norm.cdf(NORMAL_HALF_WIDTH) - norm.cdf(-NORMAL_HALF_WIDTH) == pytest.approx(CONFIDENCE, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "current", "stored"),
    [
        ("memorised", "memorized", "memorised"),
        ("memorized", "memorized", "memorised"),
        ("clean", "clean", "clean"),
        ("Memorised", "Memorised", "Memorised"),
        ("", "", ""),
    ],
)
def test_only_the_former_spelling_is_renamed(name: str, current: str, stored: str) -> None:
    assert population_name(name) == current
    assert stored_population(population_name(name)) == stored
