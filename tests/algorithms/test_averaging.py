"""t-intervals of means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from landscape.algorithms import averaging


def test_intervals_are_student_s() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3))
    half = averaging.half_widths(values)
    for column in range(3):
        low, high = stats.t.interval(0.95, 11, values[:, column].mean(), stats.sem(values[:, column]))
        assert half[column] == pytest.approx((high - low) / 2)
    assert np.allclose(averaging.standard_errors(values), stats.sem(values))


def test_one_value_has_no_error_that_is_known() -> None:
    assert np.isinf(averaging.half_widths(np.ones((1, 2)))).all()
    assert np.isinf(averaging.standard_errors(np.ones((1, 2)))).all()


def test_enough_needs_every_column_and_a_few_values() -> None:
    values = np.array([[1.0, 1.0]] * 8)
    values[:, 1] += np.linspace(-0.5, 0.5, 8)
    assert averaging.enough(values[:, :1], 0.01)
    assert not averaging.enough(values, 0.01)
    assert not averaging.enough(values[:4, :1], 0.01)
