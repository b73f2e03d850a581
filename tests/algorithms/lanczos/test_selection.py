"""Which eigenvalues are wanted, and their order."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.lanczos.selection import Which, select_eigenvalues

VALUES = np.array([1.0, -5.0, 3.0, 0.0, -2.0, 4.0])


@pytest.mark.parametrize(
    ("which", "count", "expected"),
    [
        ("largest", 2, [4, 3]),
        ("smallest", 2, [-5, -2]),
        ("magnitude", 3, [-5, 4, 3]),
        ("both", 4, [4, 3, -2, -5]),
        ("both", 3, [4, 3, -5]),
        ("both", 1, [4]),
        ("both", 9, [4, 3, 1, 0, -2, -5]),
        ("largest", 9, [4, 3, 1, 0, -2, -5]),
    ],
)
def test_the_best_come_first(which: Which, count: int, expected: list[float]) -> None:
    assert VALUES[select_eigenvalues(VALUES, count, which)].tolist() == expected


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude", "both"])
def test_equals_are_taken_in_the_order_given(which: Which) -> None:
    assert select_eigenvalues(np.zeros(5), 1, which).tolist() == [0]


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude", "both"])
def test_a_handicap_lets_equals_stay_outside_and_the_better_in(which: Which) -> None:
    values = np.array([4.0, 0.0, 0.0, -4.0, 0.0, 0.0])
    handicap = np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.1])
    assert set(select_eigenvalues(values, 3, which, handicap)) <= {0, 1, 2, 3}
    assert 4 in select_eigenvalues(np.array([1.0, 0, 0, 0, 9.0]), 1, "largest", np.array([0, 0, 0, 0, 0.1]))
    assert 4 in select_eigenvalues(np.array([1.0, 0, 0, 0, -9.0]), 1, "smallest", np.array([0, 0, 0, 0, 0.1]))
