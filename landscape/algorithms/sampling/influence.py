"""How much another draw of the samples would change a mean over a posterior (infinitesimal jackknife).

Source: Giordano and Broderick 2023 (arXiv 2305.06466): derivatives by weights of samples are covariances of the draws.
"""

from __future__ import annotations

import numpy as np


def resampling_error(rises: np.ndarray, second: np.ndarray) -> float:
    """The standard error of E[sum of rises] over resamples of the N samples, from draws `(m, N)` of their rises.

    A rise is a sample's part in the exponent of the posterior, so that its weight also moves the posterior:

        I_i = E[rise_i] - Cov(rise_i, sum of rises)

    `second` `(m,)` says whether a draw is of the second of two independent sets of chains. The products of both sets'
    influences have no bias by chance, where squares would. NaN if their sum is not positive (chance hides the error),
    and where a set has fewer than two draws.
    """
    if min(second.sum(), (~second).sum()) < 2:
        return float("nan")
    square = float((_influences(rises[~second]) * _influences(rises[second])).sum())
    return square**0.5 if square > 0 else float("nan")


def _influences(rises: np.ndarray) -> np.ndarray:
    """The influences of N samples, less their mean, from draws `(m, N)`."""
    centered = rises - rises.mean(axis=0)
    total = centered.sum(axis=1)
    influences: np.ndarray = rises.mean(axis=0) - total @ centered / (len(rises) - 1)
    centered_influences: np.ndarray = influences - influences.mean()
    return centered_influences
