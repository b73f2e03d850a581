"""The estimates of all trace estimators from the products so far, and which of them counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student

from landscape.algorithms.estimators.trace.state import TraceGoal, TraceState
from landscape.choices import CONFIDENCE
from landscape.compute.inner_products import gram
from landscape.network.space import ParameterGroup

# XTrace's values share their images. The ratio of the true error to that of independent values was 1.03 to 1.47 over
# 18 designed spectra and sizes.
XTRACE_ERROR_FACTOR = 2**0.5
MIN_VALUES = {
    "hutchinson": 10,
    "hutch++": 10,
    "xtrace": 16,
    "ggn+hutchinson": 8,
}  # from so many values a standard error is believed


@dataclass(frozen=True)
class TraceEstimate:
    """One estimator's mean with its standard error, 95 % half-width, and the products behind it."""

    estimator: str
    value: float
    error: float
    half_width: float
    products: int
    enough: bool  # whether there are enough values to believe the standard error
    draws: np.ndarray  # (n,), one value for each random vector, whose mean is `value`; empty for an exact trace

    def products_for(self, half_width: float) -> float:
        """Products until that half-width, if the error falls as one over the root of the products."""
        return self.products * (self.half_width / half_width) ** 2 if half_width else float("inf")


def goal_reached(state: TraceState, goal: TraceGoal) -> bool:
    """Whether the preferred estimate is as narrow as the goal asks, with enough values behind it."""
    chosen = preferred_estimate(state, goal)
    asked = chosen is not None and (goal.method == "auto" or chosen.estimator in ("exact", goal.method))
    return chosen is not None and asked and chosen.enough and chosen.half_width <= goal.rtol * abs(chosen.value)


def preferred_estimate(state: TraceState, goal: TraceGoal) -> TraceEstimate | None:
    """The exact estimate, else the goal's own, else that of the last step, else any; None without two values.

    Not the estimate with the smallest half-width: one that is chosen because its error is small is too confident.
    """
    by_name = {estimate.estimator: estimate for estimate in trace_estimates(state)}
    asked = ("hutch++", "xtrace", "hutchinson") if goal.method == "auto" else (goal.method,)
    ranked = [by_name[name] for name in ("exact", *asked, "xtrace", "hutchinson", "ggn+hutchinson") if name in by_name]
    return next((estimate for estimate in ranked if estimate.enough), ranked[0] if ranked else None)


def trace_estimates(state: TraceState) -> list[TraceEstimate]:
    """The estimate of each estimator that has at least two values."""
    estimates = []
    size, known = state.size, state.known
    if state.columns == size or state.captured:
        whole = state.diagonal[-1] if state.columns == size else np.trace(state.projected)
        estimates.append(TraceEstimate("exact", float(whole) + known, 0.0, 0.0, state.products, True, np.zeros(0)))
    plain = state.quadratics if state.sketched else state.values
    estimates += plain_estimate("ggn+hutchinson" if state.is_rest else "hutchinson", plain + known, len(plain))
    if state.sketched and not state.captured:
        estimates += plain_estimate("xtrace", xtrace_values(state), 2 * state.sketched)
        estimates += plain_estimate("hutch++", state.values, 2 * state.sketched + len(state.values))
    return estimates


def block_traces(state: TraceState, groups: Sequence[ParameterGroup]) -> tuple[np.ndarray, np.ndarray]:
    """The trace of each group's diagonal block and its standard error, `(g,)` both."""
    if state.columns == state.size:
        return state.diagonal[:-1], np.zeros(len(groups))
    rows, projected = state.basis[: state.rank], torch.from_numpy(state.projected)
    twice = np.zeros(len(groups))  # tr over each group of QQ'AQQ', which `block_sketch` contains twice
    for index, group in enumerate(groups):
        inner = sum(gram(piece, piece) for piece in group.of(rows))
        twice[index] = float((inner.cpu() * projected).sum()) if state.rank else 0.0  # type: ignore[union-attr]
    sketch = state.block_sketch - twice
    if state.captured:
        return sketch, np.zeros(len(groups))
    count = len(state.block_values)
    error = state.block_values.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.full(len(groups), np.nan)
    mean = state.block_values.mean(axis=0) if count else np.full(len(groups), np.nan)
    return sketch + mean, error


def xtrace_values(state: TraceState) -> np.ndarray:
    """XTrace's estimates `(s,)`, each leaving one sketched probe out (equation 2.8, normalized as in 2.12)."""
    overlaps, images, projected = state.overlaps, state.images, state.projected
    count, size = state.sketched, state.size
    left_out = np.linalg.solve(images.T, np.eye(count))  # column i is orthogonal to all images but the i-th
    left_out /= np.linalg.norm(left_out, axis=0)
    inside = overlaps - left_out * (left_out * overlaps).sum(axis=0)
    curved = state.quadratics - 2 * (inside * images).sum(axis=0) + (inside * (projected @ inside)).sum(axis=0)
    rest = (size - count + 1) / (size - (inside**2).sum(axis=0)) * curved
    kept = np.trace(projected) - (left_out * (projected @ left_out)).sum(axis=0)
    values: np.ndarray = kept + rest
    return values


def half_width_factor(name: str, values: int) -> float:
    """Half-width of the 95 % interval in standard errors, Student's t, of the mean of so many values.

    An estimate may stop as soon as its interval is narrow, from `MIN_VALUES` on, and stops early where the spread of
    the first values happens to be small. So the degrees of freedom stay those of the first values, as in Stein's
    (1945) two-stage interval.
    """
    return float(student.ppf((1 + CONFIDENCE) / 2, min(values, MIN_VALUES[name]) - 1))


def plain_estimate(name: str, values: np.ndarray, products: int) -> list[TraceEstimate]:
    """The mean of the values with Student's interval; nothing for fewer than two values."""
    count = len(values)
    if count < 2:
        return []
    error = float(values.std(ddof=1) / np.sqrt(count)) * (XTRACE_ERROR_FACTOR if name == "xtrace" else 1.0)
    half = half_width_factor(name, count) * error
    return [TraceEstimate(name, float(values.mean()), error, half, products, count >= MIN_VALUES[name], values)]
