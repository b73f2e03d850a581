"""Intervals of means, with and without a control variate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from landscape.algorithms.estimators import averaging


def test_plain_intervals_are_student_s() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3))
    found = averaging.controlled_mean(values, np.zeros(12))
    for column in range(3):
        low, high = stats.t.interval(0.95, 11, values[:, column].mean(), stats.sem(values[:, column]))
        assert found.half_width[column] == pytest.approx((high - low) / 2)
    assert np.allclose(found.standard_error, stats.sem(values))
    assert np.allclose(found.value, values.mean(axis=0))


def test_with_a_control_it_is_the_intercept_of_a_regression() -> None:
    random = np.random.default_rng(1)
    controls = random.normal(size=30)
    values = 2 + 3 * controls + 0.1 * random.normal(size=30)
    found = averaging.controlled_mean(values[:, None], controls)
    line = stats.linregress(controls, values)
    assert found.value[0] == pytest.approx(line.intercept)
    assert found.standard_error[0] == pytest.approx(line.intercept_stderr)
    assert found.half_width[0] == pytest.approx(line.intercept_stderr * stats.t.ppf(0.975, 28))
    assert found.standard_error[0] < 0.1 * stats.sem(values)


def test_few_values_fit_no_slope() -> None:
    controls = np.linspace(-1, 1, 15)
    values = (1 + controls)[:, None]
    assert averaging.controlled_mean(values, controls).value[0] == pytest.approx(1)
    assert averaging.controlled_mean(values, controls).standard_error[0] == pytest.approx(stats.sem(values)[0])


def test_one_value_has_no_error_that_is_known() -> None:
    found = averaging.controlled_mean(np.ones((1, 2)), np.zeros(1))
    assert np.isinf(found.half_width).all()
    assert not found.within(1e9)


def test_every_column_must_be_as_narrow_as_asked() -> None:
    values = np.ones((20, 2))
    values[:, 1] += np.linspace(-0.5, 0.5, 20)
    assert averaging.controlled_mean(values[:, :1], np.zeros(20)).within(0.01)
    assert not averaging.controlled_mean(values, np.zeros(20)).within(0.01)
