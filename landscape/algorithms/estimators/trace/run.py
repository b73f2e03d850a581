"""The iteration of the trace estimators: step after step until the schedule ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from landscape.algorithms.estimators.trace.schedule import StepName, count, forecast, next_step
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceState, initial_state
from landscape.algorithms.estimators.trace.steps import TRACE_STEPS, TraceProblem
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator


def estimate_trace(
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    goal: TraceGoal,
    *,
    seed: int = 0,
    resume: TraceState | None = None,
    images: Tensor | None = None,
) -> Iterator[TraceState]:
    """States after each pass of at most 8 products, until `trace_finished(state, goal)`.

    `images` `(P, 8)` are the products with the first sketched probes, if they have been made.
    """
    problem = TraceProblem(operator, groups, seed, goal.width, images)
    state = resume or initial_state(operator.like, operator.size, len(groups), goal)
    while (name := _following(state, goal)) is not None:
        state = TRACE_STEPS[name](problem, state, goal.max_products - state.products)
        yield state


def trace_finished(state: TraceState, goal: TraceGoal) -> bool:
    """Whether the goal is reached, or the limit on products."""
    return _following(state, goal) is None


def _following(state: TraceState, goal: TraceGoal) -> StepName | None:
    return next_step(count(state, goal), goal, partial(forecast, state, goal))
