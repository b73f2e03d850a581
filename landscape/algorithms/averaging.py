"""Means over random draws with their intervals."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
FEWEST = 8  # values from which a standard error is believed enough to stop on


def standard_errors(values: np.ndarray) -> np.ndarray:
    """The standard error of the mean of each column of `(n, ...)`; infinite for a single value."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.inf)
    with np.errstate(invalid="ignore"):  # infinite values have no deviation, which is NaN
        errors: np.ndarray = values.std(axis=0, ddof=1) / len(values) ** 0.5
    return errors


def half_widths(values: np.ndarray) -> np.ndarray:
    """Half the width of the t-interval of each column's mean."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.inf)
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    widths: np.ndarray = quantile * standard_errors(values)
    return widths


def enough(values: np.ndarray, rtol: float) -> bool:
    """Whether every column's interval is as narrow as asked, relative to its mean."""
    return len(values) >= FEWEST and bool((half_widths(values) <= rtol * np.abs(values.mean(axis=0))).all())
