"""Numbers derived from quadrature rules: integrals over the spectrum, each with its error over the probes.

The mean over probes of sum_i w_i f(theta_i) is an unbiased estimate of the mean of f over all eigenvalues, up to the
error of the quadrature (Ubaru, Chen and Saad 2017; Ghorbani, Krishnan and Xiao 2019, section 2). The error of the
quadrature is estimated from the change from rules with half as many steps, which equals it if it falls as one over the
number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.algorithms.lanczos.batched import QuadratureRule

# Shares of sum |lambda| between which the bulk lies. The eigenvalues of the lowest tenth are not resolved in 64 steps.
BULK_SHARES = (0.25, 0.75)
# Error of a number's quadrature in changes by half of the steps. It falls more slowly than as one over the steps where
# these are few: with the change itself, intervals of the bulk's condition covered 75 to 100 % on seven nets (24 steps).
SLOWER_DECAY = 1.5


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error over the probes (NaN for a single one)."""

    value: float
    error: float

    def with_quadrature_error(self, coarser: Estimate) -> Estimate:
        """The same number with an error that includes the quadrature's, from the difference to a coarser rule's."""
        quadrature = SLOWER_DECAY * (self.value - coarser.value)
        return self.with_error(quadrature)

    def with_error(self, error: float) -> Estimate:
        """The same number with an error that includes another, independent one."""
        return Estimate(self.value, float(np.hypot(self.error, error)))


def jackknife(rule: QuadratureRule, number: Callable[[QuadratureRule], float]) -> Estimate:
    """A number of the pooled rules, corrected for bias, and its error, by leaving out one probe at a time.

    Quenouille's and Tukey's jackknife (Efron and Stein 1981): a ratio or a root of means is biased by 1 / probes.
    """
    count = len(rule.nodes)
    if count < 2:
        return Estimate(number(rule), float("nan"))
    without = np.array([number(_probes(rule, np.arange(count) != probe)) for probe in range(count)])
    if not np.isfinite(without).all():  # nothing above zero to divide by
        return Estimate(number(rule), float("nan"))
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return Estimate(float(count * number(rule) - (count - 1) * without.mean()), float(error))


def spread(rule: QuadratureRule, number: Callable[[QuadratureRule], float]) -> Estimate:
    """A number of the pooled rules, with the standard error of its mean over single probes.

    For numbers that are no smooth functions of the weights, such as quantiles, for which the jackknife fails.
    """
    count = len(rule.nodes)
    each = np.array([number(_probes(rule, np.arange(count) == probe)) for probe in range(count)])
    return Estimate(number(rule), float(each.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"))


def smoothed_density(rule: QuadratureRule, grid: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The density of eigenvalues on the grid `(m,)`, and its standard error over the probes (NaN for one probe).

    Its integral is 1; `width` is the standard deviation of the Gaussian that smooths it.
    """
    nodes = np.where(rule.weights > 0, rule.nodes, 0.0)
    each = np.empty((len(nodes), len(grid)))
    for probe, (centers, weights) in enumerate(zip(nodes, rule.weights, strict=True)):
        bells = np.exp(-(((grid[:, None] - centers[None, :]) / width) ** 2) / 2)
        each[probe] = bells @ weights / (width * np.sqrt(2 * np.pi))
    error = each.std(axis=0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.full(len(grid), np.nan)
    return each.mean(axis=0), error


def rule_trace(rule: QuadratureRule) -> float:
    """The trace, sum lambda."""
    return rule.size * _mean(rule, lambda nodes: nodes)


def absolute_sum(rule: QuadratureRule) -> float:
    """The sum of |lambda|."""
    return rule.size * _mean(rule, np.abs)


def frobenius_norm(rule: QuadratureRule) -> float:
    """The Frobenius norm, sqrt(sum lambda^2)."""
    return float(np.sqrt(rule.size * _mean(rule, lambda nodes: nodes**2)))


def negative_mass(rule: QuadratureRule, floor: float) -> float:
    """The share of eigenvalues below -floor."""
    return _mean(rule, lambda nodes: nodes < -floor)


def negative_mass_uncertainty(rule: QuadratureRule, floor: float) -> float:
    """A bound on the error of `negative_mass` that comes from the quadrature, whatever the number of probes.

    It is the weight of the two nodes beside the cut (inequality of Chebyshev, Markov and Stieltjes; Szegoe, Orthogonal
    Polynomials, section 3.41).
    """
    total = 0.0
    for nodes, weights in zip(rule.nodes, rule.weights, strict=True):
        below = int((nodes < -floor).sum())
        beside = [place for place in (below - 1, below) if 0 <= place < len(nodes)]
        total += weights[beside].sum()
    return total / len(rule.nodes)


def effective_rank(rule: QuadratureRule) -> float:
    """The exponential of the entropy of |lambda| / sum |lambda| (Roy and Vetterli 2007)."""
    total = absolute_sum(rule)
    if total == 0:
        return 0.0

    def entropy(nodes: np.ndarray) -> np.ndarray:
        share = np.abs(nodes) / total
        logarithms: np.ndarray = np.log(share, out=np.zeros_like(share), where=share > 0)
        terms: np.ndarray = -share * logarithms
        return terms

    return float(np.exp(rule.size * _mean(rule, entropy)))


def negative_ratio(rule: QuadratureRule) -> float:
    """K_H^1, the sum of negative |lambda| over the sum of positive ones (arXiv 2412.10146, section 3)."""
    above = _mean(rule, lambda nodes: np.maximum(nodes, 0))
    below = _mean(rule, lambda nodes: np.maximum(-nodes, 0))
    return below / above if above else float("inf") if below else float("nan")


def bulk_condition(rule: QuadratureRule) -> float:
    """The ratio of the two |lambda| between which the middle half of sum |lambda| lies."""
    nodes, weights = np.abs(rule.nodes[rule.weights > 0]), rule.weights[rule.weights > 0]
    order = np.argsort(nodes)
    share = np.cumsum((nodes * weights)[order])
    if not share[-1]:
        return float("nan")
    low, high = (nodes[order][np.searchsorted(share / share[-1], part)] for part in BULK_SHARES)
    return float(high / low)


def _mean(rule: QuadratureRule, function: Callable[[np.ndarray], np.ndarray]) -> float:
    values = function(np.where(rule.weights > 0, rule.nodes, 0.0))
    return float((rule.weights * values).sum() / len(rule.nodes))


def _probes(rule: QuadratureRule, chosen: np.ndarray) -> QuadratureRule:
    """The rule of some of the probes."""
    return QuadratureRule(rule.nodes[chosen], rule.weights[chosen], rule.residuals[chosen], rule.size)
