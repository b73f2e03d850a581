"""The numbers of a critical step from the points that were evaluated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from landscape.algorithms.crossing.interval import ChangeCurve
from landscape.algorithms.crossing.search import CrossingSearch
from landscape.analyses.critical.points import EvaluatedPoints
from landscape.analyses.shared.rounding import NOISE_MULTIPLE
from landscape.choices import NORMAL_HALF_WIDTH


def summarize_crossing(
    search: CrossingSearch, points: EvaluatedPoints, rate: float | None, weights_per_step: float
) -> dict[str, Any]:
    """The fields of the result that follow from the points; `rate` is the run's learning rate.

    `weights_per_step` is the length of the weights in those of the update.
    """
    root = search.root
    changes = np.array(points.changes)
    order = np.argsort(points.steps)
    return {
        "critical_step": root,
        "critical_sharpness": 2 / root,
        **_errors(points, root, order),
        "bracket": np.array([search.lower, search.upper]),
        "passes": points.passes,
        "relative_step": root / weights_per_step if weights_per_step else math.inf,
        "largest_drop": float(-min(np.nanmin(changes, initial=0.0), 0.0)),
        "rounding": NOISE_MULTIPLE * points.noise,
        **_edge(root, rate),
        "point_step": np.array(points.steps)[order],
        "point_change": changes[order],
    }


def _errors(points: EvaluatedPoints, root: float, order: np.ndarray) -> dict[str, Any]:
    """The errors of the step and of the changes by the choice of the samples; nothing for a single sum."""
    if not points.by_sample:
        return {}
    curve = points.curve
    return {**_interval(curve, root), "point_change_error": _point_errors(curve, np.array(points.steps)[order])}


def _interval(curve: ChangeCurve, root: float) -> dict[str, Any]:
    """The interval of the step and the standard errors, where the step is known."""
    if not math.isfinite(root):
        return {"interval": np.full(2, math.nan)}
    low, high = curve.interval(root)
    slope_error = curve.at(root)[1]
    error = (high - low) / (2 * NORMAL_HALF_WIDTH) if math.isfinite(high) else slope_error * math.inf
    return {
        "interval": np.array([low, high]),
        "critical_step_se": error,
        "critical_sharpness_se": 2 * error / root**2,
    }


def _point_errors(curve: ChangeCurve, steps: np.ndarray) -> np.ndarray:
    """The standard error of the change at each step; NaN where the change is not finite."""
    known = dict(zip(curve.steps.tolist(), curve.errors().tolist(), strict=True))
    return np.array([known.get(step, math.nan) for step in steps.tolist()])


def _edge(root: float, rate: float | None) -> dict[str, Any]:
    """The edge of stability of the learning rate, and the critical sharpness relative to it."""
    return {"learning_rate": rate, "edge": 2 / rate, "edge_ratio": rate / root} if rate else {}
