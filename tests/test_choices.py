"""Names of populations in both spellings."""

from __future__ import annotations

import pytest

from landscape.choices import population_name, stored_population


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
