"""How well a score tells two kinds of samples apart."""

from __future__ import annotations

import numpy as np


def auroc(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """The probability that a positive scores above a negative, ties counted half, and its standard error.

    `scores` `(N,)`, `positive` `(N,)` of booleans. DeLong et al. (1988) give the error. NaN scores make both NaN, as
    does one kind alone.
    """
    from scipy.stats import rankdata

    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below) or not np.isfinite(scores).all():
        return float("nan"), float("nan")
    ranks = rankdata(scores)
    wins = (ranks[positive] - rankdata(above)) / len(below)  # share of negatives below each positive
    losses = 1 - (ranks[~positive] - rankdata(below)) / len(above)  # share of positives above each negative
    spreads = [np.var(part, ddof=1) / len(part) if len(part) > 1 else np.nan for part in (wins, losses)]
    return float(wins.mean()), float(np.sqrt(sum(spreads)))
