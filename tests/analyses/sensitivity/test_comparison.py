"""Ranks and their correlation against scipy, and when a forecast holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from landscape.analyses.sensitivity.comparison import correlation, judge_forecasts, ranks, spearman


def test_the_correlation_is_scipy_s_also_with_ties() -> None:
    random = np.random.RandomState(0)
    for _ in range(5):
        a, b = random.randint(0, 6, 12).astype(float), random.randn(12)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
        assert spearman(a, a) == pytest.approx(1)


def test_a_correlation_that_does_not_exist_is_nan() -> None:
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))
    assert np.isnan(spearman(np.array([1.0, np.nan, 2.0]), np.arange(3.0)))
    assert np.isnan(correlation(np.ones((5, 2)), np.ones((5, 2)), np.ones(5), 0)).all()


def test_the_spread_of_a_correlation_is_that_over_other_data() -> None:
    """Layers that differ by about as much as groups of samples scatter."""
    random = np.random.RandomState(0)
    level, groups = np.linspace(0, 1, 12), 60

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        forecasts = level + 2 * random.randn(groups, 12)
        return forecasts, forecasts + 2 * random.randn(groups, 12)

    values = [correlation(*drawn(), np.ones(groups), 0) for _ in range(60)]
    spread, stated = np.std([value for value, _ in values], ddof=1), np.mean([error for _, error in values])
    assert 0.7 < stated / spread < 1.5


def test_one_group_of_samples_gives_no_spread() -> None:
    value, error = correlation(np.arange(4.0)[None], np.arange(4.0)[None], np.ones(1), 0)
    assert value == 1
    assert np.isnan(error)


def test_ranks_begin_with_the_largest_change() -> None:
    assert ranks(np.array([0.1, -3.0, 5.0, np.nan, 0.1])).tolist() == [2, 4, 1, 5, 3]


@pytest.mark.parametrize(
    ("real", "forecast", "error", "word"),
    [
        (1.0, 0.85, 1e-9, "yes"),
        (1.0, 0.7, 0.1, "no"),
        (1.0, 0.7, 0.2, "unclear"),
        (-0.1, 0.1, 0.01, "no"),
        (0.0, 0.0, 0.0, "yes"),
        (1.0, 0.5, np.nan, "unclear"),
        (np.nan, 0.5, 0.1, "no"),
    ],
    ids=["near", "far", "within-errors", "other-sign", "nothing", "no-error", "not-finite"],
)
def test_a_forecast_holds_within_the_tolerance_and_fails_beyond_its_errors(
    real: float, forecast: float, error: float, word: str
) -> None:
    assert judge_forecasts(np.array([real]), np.array([forecast]), np.array([error]), 0.2, 32).tolist() == [word]


def test_the_interval_of_few_groups_is_wide() -> None:
    numbers = (np.array([1.0]), np.array([0.7]), np.array([0.1]), 0.2)
    assert [judge_forecasts(*numbers, groups)[0] for groups in (32, 3, 1)] == ["no", "unclear", "unclear"]
