"""Which step comes next: the rules on the counts of a run, and the forecast of products until the goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landscape.algorithms.estimators.trace.estimates import (
    MIN_VALUES,
    XTRACE_ERROR_FACTOR,
    goal_reached,
    half_width_factor,
    trace_estimates,
)
from landscape.algorithms.estimators.trace.state import WITHOUT_SKETCH, TraceGoal, TraceState

StepName = Literal["sketch", "probe", "diagonal"]

PROBES_PER_PASS = 8  # columns that share a pass over the data
DECAY_PRIOR = 0.5  # p of spread ~ s^-p before any round of sketching
DECAY_PRIOR_WEIGHT = 0.25  # against rounds of sketching: a doubling of s weighs 0.24
MAX_DECAY = 4.0


@dataclass(frozen=True)
class TraceCounts:
    """The facts about a run on which its next step depends."""

    size: int  # P
    capacity: int  # sketched probes that fit into memory
    products: int
    sketched: int
    others: int
    rounds: int  # of sketching
    diagonal: int  # exact diagonal entries summed
    captured: bool  # whether the sketch spans the range of the matrix
    reached: bool  # whether the estimate is as narrow as the goal asks


@dataclass(frozen=True)
class Forecast:
    """The step that leads to the goal in the fewest products, and their number."""

    step: StepName
    products: float


def count(state: TraceState, goal: TraceGoal) -> TraceCounts:
    """The counts of a run."""
    return TraceCounts(
        size=state.size,
        capacity=len(state.basis),
        products=state.products,
        sketched=state.sketched,
        others=len(state.values),
        rounds=len(state.history),
        diagonal=state.columns,
        captured=state.captured,
        reached=not state.columns and goal_reached(state, goal),
    )


def next_step(counts: TraceCounts, goal: TraceGoal, forecast: Callable[[], Forecast]) -> StepName | None:
    """The next step, or None at the end; `forecast` is asked only where the counts do not decide."""
    left = goal.max_products - counts.products
    if counts.diagonal:
        return None if counts.diagonal == counts.size or left <= 0 else "diagonal"
    others_missing = not counts.captured and counts.others < goal.min_others
    if counts.captured or (counts.reached and not others_missing) or left <= 0:
        return None
    if goal.method == "xtrace" and (_sketch_is_full(counts) or (left < 2 and counts.products)):
        return None
    if left < 2:  # a sketch needs two products for each probe
        return "probe"
    if not counts.products and goal.method == "auto" and counts.size <= min(2 * MIN_VALUES["xtrace"], left):
        return "diagonal"  # no estimate takes fewer products
    if _others_are_due(counts, goal, left) or (others_missing and counts.reached):
        return "probe"
    if goal.method in WITHOUT_SKETCH and counts.others < PROBES_PER_PASS:
        return "probe"
    if not counts.others and counts.rounds < MIN_VALUES["xtrace"] // PROBES_PER_PASS:
        return "sketch"
    expected = forecast()
    exact_fits = counts.products + counts.size <= goal.max_products
    return "diagonal" if expected.products > counts.size and exact_fits else expected.step


def _sketch_is_full(counts: TraceCounts) -> bool:
    return counts.sketched + PROBES_PER_PASS > counts.capacity


def _others_are_due(counts: TraceCounts, goal: TraceGoal, left: int) -> bool:
    """Whether another round of sketching would leave too few products for the other probes that are needed."""
    needed = max(goal.min_others, MIN_VALUES["hutch++"] if goal.method == "hutch++" else 0)
    return counts.sketched > 0 and counts.others < needed and left < 2 * PROBES_PER_PASS + needed


def forecast(state: TraceState, goal: TraceGoal) -> Forecast:
    """The cheapest way to the goal after at least one round of sketching, or of other probes.

    m other probes reach the half-width w when m = (t spread / w)^2, with t the `half_width_factor`. They leave the
    spread as it is; sketching lowers it as s^-p. XTrace arrives when m(s) = s, after 2 s products. Hutch++ takes
    2 s + m(s) products, which is least at s^(2p + 1) = p m s^2p.
    """
    values = state.values if len(state.values) else state.quadratics
    value = next(estimate.value for estimate in reversed(trace_estimates(state))) if len(values) > 1 else 0.0
    width = goal.rtol * abs(value) or np.finfo(float).tiny
    factor = half_width_factor("hutch++", MIN_VALUES["hutch++"])
    if len(state.values):
        others = (factor * state.values.std(ddof=1) / width) ** 2
        return Forecast("probe", max(others - len(state.values), 1.0))
    sketched, spread = state.history[-1]
    others = (factor * spread / width) ** 2
    power = fit_decay(state.history)
    constant = others * sketched ** (2 * power)
    xtrace_factor = XTRACE_ERROR_FACTOR * half_width_factor("xtrace", MIN_VALUES["xtrace"]) / factor
    xtrace = 2 * max((xtrace_factor**2 * constant) ** (1 / (2 * power + 1)) - sketched, 0.0)
    optimum = max((power * constant) ** (1 / (2 * power + 1)), sketched)
    hutchpp = 2 * (optimum - sketched) + constant / optimum ** (2 * power)
    if goal.method == "xtrace":
        return Forecast("sketch", xtrace)
    if state.sketched + PROBES_PER_PASS > len(state.basis):
        return Forecast("probe", others)
    at_optimum = optimum - sketched < PROBES_PER_PASS / 2
    if at_optimum and (goal.method == "hutch++" or hutchpp < xtrace):
        return Forecast("probe", hutchpp)
    return Forecast("sketch", hutchpp if goal.method == "hutch++" else min(xtrace, hutchpp))


def fit_decay(history: np.ndarray) -> float:
    """p of spread ~ s^-p, by least squares over rounds `(n, 2)` of s and spread, with a prior while they are few."""
    if not (history[:, 1] > 0).all():
        return DECAY_PRIOR
    centered = np.log(history[:, 0]) - np.log(history[:, 0]).mean()
    slope = (DECAY_PRIOR * DECAY_PRIOR_WEIGHT - centered @ np.log(history[:, 1])) / (
        DECAY_PRIOR_WEIGHT + centered @ centered
    )
    return float(np.clip(slope, 0.0, MAX_DECAY))
