"""Relative flatness of one weight matrix (Petzka et al. 2021, definition 3), by the estimators of the trace."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from landscape.algorithms.estimators.trace.estimates import preferred_estimate
from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.state import TraceGoal, restore_trace
from landscape.algorithms.lanczos.symmetry import SYMMETRY_PRODUCTS, product_if_symmetric
from landscape.algorithms.snapshots import snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.shared.expected_steps import expected_steps
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.operators import HessianOperator
from landscape.operators.weighted_rows import WeightedRowsOperator

if TYPE_CHECKING:
    from landscape.analyses.measures import Measures
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

USUAL_PRODUCTS = 100  # that a plan and a progress expect
MAX_FLATNESS_SKETCH = 64  # probes that the estimate of the trace may sketch
SKETCH_STEP = 8  # probes that the algorithm sketches at once


@dataclass(frozen=True)
class FlatnessEstimate:
    """Relative flatness with its errors; None where there is none, NaN where the products did not suffice for it."""

    value: float | None = None
    error: float | None = None
    half_width: float | None = None
    products: int = 0
    notes: tuple[str, ...] = ()
    symmetry_products: int = 0  # of the test of symmetry beforehand


def flatness_matrix(analysis: Measures, objective: Objective) -> ParameterGroup | None:
    """The weight that --layer names, by default the last matrix; None if there is no matrix.

    Raises UsageError if `layer` is not a matrix of the model.
    """
    matrices = [block.name for block in objective.space.blocks if len(block.shape) > 1]
    if analysis.layer is None:
        return objective.space.groups_matching([matrices[-1]])[0] if matrices else None
    if analysis.layer not in matrices:
        raise UsageError(f"--layer {analysis.layer} is no matrix of the model", fix=f"one of {', '.join(matrices)}")
    return objective.space.groups_matching([analysis.layer])[0]


def estimate_relative_flatness(
    analysis: Measures, objective: Objective, group: ParameterGroup, saved: State
) -> Generator[Progress, None, FlatnessEstimate]:
    """Yields after each step of the estimator; the estimate is empty if second derivatives are wrong or missing."""
    name = group.names[0]
    notes = (f"relative flatness is that of {name}",)
    weight = objective.space.unflatten(objective.theta)[name]
    filters = next(block.filters for block in objective.space.blocks if block.name == name)
    hessian = HessianOperator(objective)
    operator = WeightedRowsOperator(hessian, group, weight, filters)
    sketch = min(MAX_FLATNESS_SKETCH, operator.size) // SKETCH_STEP * SKETCH_STEP
    goal = TraceGoal("auto", analysis.rtol, analysis.max_products, sketch, 0)
    try:  # with all weights: a block of a matrix that is not symmetric may be symmetric
        product_if_symmetric(hessian, objective.theta, analysis.seed)
    except (TaskError, NumericalError) as error:
        return FlatnessEstimate(notes=(*notes, f"no relative flatness: {error.what}"))
    state = earlier = restore_trace(saved, operator.like, analysis.seed) if saved else None
    for state in estimate_trace(operator, (), goal, seed=analysis.seed, resume=earlier):
        most = max(analysis.max_products, state.products)
        total = expected_steps(state.products, USUAL_PRODUCTS, most)
        yield Progress(state.products, total, f"relative flatness, {state.products} products", partial(snapshot, state))
    assert state is not None  # max_products >= 1
    estimate = preferred_estimate(state, goal)
    if estimate is None:
        return FlatnessEstimate(math.nan, math.nan, math.nan, state.products, notes, SYMMETRY_PRODUCTS)
    return FlatnessEstimate(
        estimate.value, estimate.error, estimate.half_width, state.products, notes, SYMMETRY_PRODUCTS
    )
