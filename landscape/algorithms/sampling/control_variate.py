"""A control variate of chains: a number whose mean is known to be 0, times the slope of the values on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landscape.algorithms.sampling.convergence import effective_draws


@dataclass(frozen=True)
class ControlVariate:
    """What is subtracted from the values of K chains.

    Each chain has the slope `slopes` `(K,)` of all other chains: a slope of its own draws hangs on where they happened
    to be, and with heavy tails its product with their mean has a bias. `slope_error` is the standard error of a slope,
    `means` `(K,)` are the chains' means of the control, and `share_left` is the share of the variance that is left.
    """

    slopes: np.ndarray
    slope_error: float
    means: np.ndarray
    share_left: float

    @classmethod
    def fit(cls, values: np.ndarray, control: np.ndarray) -> ControlVariate:
        """The control variate for values `(K, n)` of at least two chains."""
        count, (covariances, squares) = len(values), _moments(values, control)
        own = _slopes(covariances, squares)
        others = _slopes(covariances.sum() - covariances, squares.sum() - squares)
        rest, variance = (values - others[:, None] * control).var(), values.var()
        error = float(np.std(own, ddof=1)) / math.sqrt(count - 1)
        return cls(others, error, control.mean(axis=1), float(rest / variance) if variance else 1.0)

    def apply(self, values: np.ndarray, control: np.ndarray) -> np.ndarray:
        """The values `(K, n)` less the control times the slopes."""
        controlled: np.ndarray = values - self.slopes[:, None] * control
        return controlled

    def error(self, controlled: np.ndarray, most_effective: float) -> float:
        """The standard error of the mean of controlled values `(K, n)`, with that of the slopes.

        They count as at most so many independent draws: what is left may look independent where chains are slow.
        """
        spread = float(controlled.std(ddof=1))
        of_draws = spread / min(effective_draws(controlled), most_effective) ** 0.5 if spread else 0.0
        return math.hypot(of_draws, self.slope_error * float(np.linalg.norm(self.means)) / len(self.means))


def _moments(values: np.ndarray, control: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of products and of squares of the control within each chain, `(K,)`."""
    values, control = (part - part.mean(axis=1, keepdims=True) for part in (values, control))
    return (values * control).sum(axis=1), (control**2).sum(axis=1)


def _slopes(covariances: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The slopes `(K,)`; 0 for a constant control."""
    found: np.ndarray = np.divide(covariances, squares, out=np.zeros_like(covariances), where=squares > 0)
    return found
