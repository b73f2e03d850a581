"""The error by the choice of samples against the bootstrap of a Gaussian posterior, whose mean is a closed form."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.algorithms.sampling.influence import resampling_error

GAMMA = 30.0


def value(curvatures: np.ndarray, weights: np.ndarray) -> float:
    """E[sum of w_i h_i x^2 / 2] under exp of its negative and of gamma x^2 / 2."""
    total = float(weights @ curvatures)
    return total / (total + GAMMA) / 2


def test_the_error_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    curvatures = rng.exponential(1.0, size=40)
    x = rng.normal(size=20_000) / (curvatures.sum() + GAMMA) ** 0.5
    rises = curvatures[None, :] * x[:, None] ** 2 / 2
    error = resampling_error(rises, np.arange(len(x)) % 2 == 0)
    copies = rng.multinomial(40, np.full(40, 1 / 40), size=4000)
    assert error == pytest.approx(np.std([value(curvatures, copy) for copy in copies]), rel=0.15)


def test_a_value_that_no_weight_changes_has_no_error() -> None:
    """Without a Gaussian the mean is 1/2 whatever the weights are: draws of both signs say no more than 0."""
    rng = np.random.default_rng(1)
    curvatures = rng.exponential(1.0, size=40)
    x = rng.normal(size=4000) / curvatures.sum() ** 0.5
    error = resampling_error(curvatures[None, :] * x[:, None] ** 2 / 2, np.arange(4000) % 2 == 0)
    assert np.isnan(error) or error < 0.01


def test_one_set_of_chains_says_nothing() -> None:
    assert np.isnan(resampling_error(np.ones((10, 3)), np.zeros(10, dtype=bool)))
