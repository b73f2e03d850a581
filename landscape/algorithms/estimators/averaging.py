"""Means over random draws with their intervals, narrowed by a control variate of known mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from landscape.choices import CONFIDENCE

MIN_DRAWS = 16  # fewer draws are not regressed on the control variate, and their standard errors end no sampling


@dataclass(frozen=True)
class ControlledMean:
    """Estimates `(R,)` with standard errors and half-widths of their 95 % intervals, from draws `(n, R)`."""

    value: np.ndarray
    standard_error: np.ndarray
    half_width: np.ndarray
    draws: np.ndarray  # (n, R), without their part along the control variate; their mean is the estimate

    def within(self, rtol: float) -> bool:
        """Whether every half-width is at most `rtol` of its mean."""
        return bool((self.half_width <= rtol * np.abs(self.value)).all())


def controlled_mean(values: np.ndarray, controls: np.ndarray) -> ControlledMean:
    """The mean of each column of `(n, R)`, given `(n,)` values of a control variate of mean 0.

    It is the intercept of the regression on the control variate, with Student's interval; the plain mean with fewer
    than `MIN_DRAWS` values or a constant control variate. Errors are infinite for a single value.
    """
    count, average = len(values), values.mean(axis=0)
    if count < 2:
        unknown = np.full(average.shape, np.inf)
        return ControlledMean(average, unknown, unknown, values)
    center = float(controls.mean())
    spread = float(((controls - center) ** 2).sum())
    fitted = count >= MIN_DRAWS and spread > 0
    with np.errstate(invalid="ignore"):  # infinite values have no deviation, which is NaN
        slope = (controls - center) @ (values - average) / spread if fitted else np.zeros_like(average)
        residuals = values - average - np.outer(controls - center, slope)
        freedom = count - 1 - fitted
        error = np.sqrt((residuals**2).sum(axis=0) / freedom * (1 / count + (center**2 / spread if fitted else 0)))
        value = average - slope * center
    half_width = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return ControlledMean(value, error, half_width, values - np.outer(controls, slope))
