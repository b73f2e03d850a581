"""The area under the ROC curve: how well a score separates two kinds of samples."""

from __future__ import annotations

import numpy as np


def auroc(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """The probability that a positive scores above a negative, ties counted half, and its standard error.

    `scores` are `(N,)`, `positive` `(N,)` booleans. The error is that of DeLong et al. (1988). Both are NaN if a score
    is not finite, or if there is one kind only.
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
