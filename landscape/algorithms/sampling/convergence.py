"""Whether several chains agree, and how many independent draws they are worth (Vehtari et al. 2021).

Chains are arrays `(m, n)`: n draws of one number in each of m chains.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

FEWEST_DRAWS = 8  # of a chain: halves of fewer have no variance worth the name
BLOM = 3 / 8  # offset of the normal scores of ranks (Blom 1958), as Vehtari et al. 2021 take it


def r_hat(chains: np.ndarray) -> float:
    """The rank-normalized split R-hat of chains `(m, n)`: the larger one of ranks and of folded ranks.

    Equal chains have 1, chains of equal draws NaN. Source: Vehtari et al. 2021, equations 3, 13 and 14.
    """
    halves = split_chains(chains)
    folded = np.abs(halves - np.median(halves))
    return float(np.max([_plain_r_hat(normal_scores(part)) for part in (halves, folded)]))


def effective_draws(chains: np.ndarray) -> float:
    """The number of independent draws whose mean has the same error as the mean of chains `(m, n)`.

    Autocorrelations are summed by Geyer's initial monotone sequence over split chains (Vehtari et al. 2021, section
    3.2). NaN for constant chains. Between-chain variance counts, so that chains that disagree are worth few draws.
    """
    halves = split_chains(chains)
    length = halves.shape[1]
    covariances = np.stack([_autocovariances(half) for half in halves])
    within = covariances[:, 0].mean() * length / (length - 1)
    pooled = within * (length - 1) / length + halves.mean(axis=1).var(ddof=1)
    if not pooled > 0:
        return float("nan")
    correlations = 1 - (within - covariances.mean(axis=0) * length / (length - 1)) / pooled
    correlations[0] = 1
    time = _monotone_sum(correlations)
    # alternating chains are worth more than their draws: Stan's cap, by which few draws cannot promise everything
    return float(halves.size / max(time, 1 / np.log10(halves.size)))


def standard_error(chains: np.ndarray) -> float:
    """The standard error of the mean over all draws of chains `(m, n)`; 0 for constant chains."""
    spread = float(chains.std(ddof=1))
    return spread / effective_draws(chains) ** 0.5 if spread else 0.0


def split_chains(chains: np.ndarray) -> np.ndarray:
    """The halves of each chain as chains `(2 m, n // 2)`; of an odd number of draws the first is left out.

    Raises ValueError for chains of fewer than `FEWEST_DRAWS` draws.
    """
    length = chains.shape[1] // 2
    if chains.shape[1] < FEWEST_DRAWS:
        raise ValueError(f"chains of {chains.shape[1]} draws, at least {FEWEST_DRAWS} are needed")
    return np.concatenate([chains[:, -2 * length : -length], chains[:, -length:]])


def normal_scores(chains: np.ndarray) -> np.ndarray:
    """The normal scores of the ranks among all draws; NaN draws make every score NaN."""
    ranks = rankdata(chains.ravel())
    scores: np.ndarray = ndtri((ranks - BLOM) / (chains.size - 2 * BLOM + 1)).reshape(chains.shape)
    return scores


def _plain_r_hat(halves: np.ndarray) -> float:
    """The root of pooled variance over the variance within chains."""
    length = halves.shape[1]
    within, between = halves.var(axis=1, ddof=1).mean(), halves.mean(axis=1).var(ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sqrt((length - 1) / length + between / within))


def _autocovariances(chain: np.ndarray) -> np.ndarray:
    """The autocovariances of a chain `(n,)` at lags 0 to n - 1, divided by n, by Fourier transforms."""
    length = len(chain)
    transform = np.fft.rfft(chain - chain.mean(), 2 * length)
    products: np.ndarray = np.fft.irfft(np.abs(transform) ** 2, 2 * length)[:length]
    return products / length


def _monotone_sum(correlations: np.ndarray) -> float:
    """1 + 2 times the sum of autocorrelations at positive lags, by Geyer's pairs: positive, and never rising."""
    even = len(correlations) // 2 * 2
    pairs = correlations[:even:2] + correlations[1:even:2]
    negative = np.flatnonzero(pairs < 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    return float(2 * np.minimum.accumulate(kept).sum() - 1) if len(kept) else 1.0
