"""The largest value of a quadratic on a ball, by its secular equation (Conn, Gould and Toint 2000, section 7.3)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq


def largest(gradient: np.ndarray, hessian: np.ndarray, rho: float) -> float:
    """max g'd + d'Hd / 2 over ||d|| <= rho; g must have a part along the leading eigenvector."""
    values, vectors = np.linalg.eigh(hessian)
    slope = vectors.T @ gradient

    def length(shift: float) -> float:
        return float(np.linalg.norm(slope / (shift - values)))

    low, high = max(values[-1], 0.0), max(values[-1], 0.0) + np.linalg.norm(gradient) / rho + 1.0
    if values[-1] < 0 and length(0.0) <= rho:  # an interior maximum
        step = slope / -values
    else:
        shift = brentq(lambda s: length(s) - rho, low + 1e-14 * max(1.0, abs(low)), high, xtol=1e-15, rtol=1e-15)
        step = slope / (shift - values)
    return float(slope @ step + (values * step**2).sum() / 2)
