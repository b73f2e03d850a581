"""R-hat and effective draws against autoregressive chains, whose correlations are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from landscape.algorithms.sampling.convergence import effective_draws, r_hat, split_chains, standard_error


def autoregressive(chains: int, draws: int, correlation: float, seed: int = 0) -> np.ndarray:
    """Stationary chains of variance 1 whose neighbors have that correlation."""
    noise = np.random.default_rng(seed).normal(size=(chains, draws))
    noise[:, 1:] *= (1 - correlation**2) ** 0.5
    values: np.ndarray = lfilter([1.0], [1.0, -correlation], noise, axis=1)
    return values


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, -0.4])
def test_effective_draws_are_those_of_an_autoregression(correlation: float) -> None:
    chains = autoregressive(4, 5000, correlation)
    exact = chains.size * (1 - correlation) / (1 + correlation)
    assert effective_draws(chains) == pytest.approx(exact, rel=0.15)


def test_the_standard_error_is_the_spread_of_the_mean_over_runs() -> None:
    runs = [autoregressive(4, 400, 0.8, seed) for seed in range(200)]
    spread = np.std([run.mean() for run in runs])
    assert np.mean([standard_error(run) for run in runs]) == pytest.approx(spread, rel=0.15)


def test_settled_chains_agree() -> None:
    assert r_hat(autoregressive(4, 1000, 0.3)) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "change",
    [
        lambda chains: chains + np.arange(4)[:, None] / 2,  # other means
        lambda chains: chains * (1 + np.arange(4)[:, None]),  # other spreads, which folding shows
        lambda chains: chains + np.linspace(-1, 1, chains.shape[1]),  # a drift, which halves show
    ],
    ids=["means", "spreads", "drift"],
)
def test_chains_that_differ_do_not_agree(change: object) -> None:
    assert r_hat(change(autoregressive(4, 400, 0.0))) > 1.05  # type: ignore[operator]


def test_ranks_do_not_mind_heavy_tails() -> None:
    chains = np.random.default_rng(0).standard_cauchy((4, 1000))
    assert r_hat(chains) == pytest.approx(1, abs=0.01)


def test_r_hat_of_independent_draws_is_that_of_the_definition() -> None:
    """Equation 3 of the paper, written out, for draws whose ranks are their normal scores already."""
    chains = autoregressive(2, 40, 0.0)
    scores = np.empty(80)
    order = np.argsort(chains.ravel())
    from scipy.stats import norm

    scores[order] = norm.ppf((np.arange(1, 81) - 3 / 8) / (80 + 1 / 4))
    halves = scores.reshape(4, 20)
    within, between = halves.var(axis=1, ddof=1).mean(), 20 * halves.mean(axis=1).var(ddof=1)
    bulk = ((19 / 20 * within + between / 20) / within) ** 0.5
    assert r_hat(chains) >= bulk * (1 - 1e-12)


def test_constant_chains_have_no_r_hat_and_no_error() -> None:
    chains = np.ones((4, 20))
    assert np.isnan(r_hat(chains))
    assert np.isnan(effective_draws(chains))
    assert standard_error(chains) == 0


def test_a_draw_that_is_not_a_number_leaves_no_number() -> None:
    chains = autoregressive(4, 50, 0.0)
    chains[1, 7] = np.nan
    assert np.isnan([r_hat(chains), effective_draws(chains), standard_error(chains)]).all()


def test_few_draws_are_refused_and_an_odd_one_is_left_out() -> None:
    with pytest.raises(ValueError, match="chains of 6 draws, at least 8"):
        split_chains(np.zeros((2, 6)))
    assert split_chains(np.arange(9.0)[None]).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
