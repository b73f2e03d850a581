"""Labels that fit into titles and legends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from landscape.figures.surface_labels import MAX_LETTERS, axis_label, shorten


def test_long_names_lose_their_middle_and_short_ones_nothing() -> None:
    assert shorten("a" * MAX_LETTERS) == "a" * MAX_LETTERS
    assert shorten("a" * 40 + "b" * 40) == "a" * 28 + "..." + "b" * 28


def test_dollars_do_not_begin_math() -> None:
    assert shorten("$5") == r"\$5"


def test_an_axis_of_a_trajectory_tells_its_share_of_the_variance() -> None:
    result: Any = SimpleNamespace(explained_alpha=0.7942, explained_beta=None)
    assert axis_label(result, "alpha") == "alpha (79.4 % of the variance)"
    assert axis_label(result, "beta") == "beta"
