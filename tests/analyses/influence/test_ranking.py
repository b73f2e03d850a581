"""Rank correlations against scipy."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import spearmanr

from landscape.analyses.influence.ranking import rank_correlation


def test_rank_correlations_are_scipy_s_with_ties() -> None:
    random = np.random.default_rng(0)
    left, right = random.integers(0, 5, 30).astype(float), random.normal(size=30)
    assert np.isclose(rank_correlation(left, right), spearmanr(left, right).statistic)


def test_constants_have_none() -> None:
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert math.isnan(rank_correlation(np.ones(1), np.ones(1)))
