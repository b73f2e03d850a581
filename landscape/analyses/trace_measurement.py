"""Measures the trace: probes until the interval is narrow enough, then the data's part of the error."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from landscape.algorithms.estimators.resampling import data_standard_error, largest_data_standard_error
from landscape.algorithms.estimators.trace.estimates import (
    MIN_VALUES,
    block_traces,
    plain_estimate,
    preferred_estimate,
    trace_estimates,
)
from landscape.algorithms.estimators.trace.run import estimate_trace
from landscape.algorithms.estimators.trace.schedule import PROBES_PER_PASS
from landscape.algorithms.estimators.trace.state import TraceGoal, TraceState, restore_trace, trace_probe
from landscape.algorithms.snapshots import snapshot
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.shared.cost import add_cost
from landscape.analyses.shared.data_error import parse_share, relative_error
from landscape.analyses.shared.label_noise import LABEL_PROBES, trace_label_error
from landscape.analyses.shared.per_layer import layer_table
from landscape.analyses.shared.phases import Phases, phase_state
from landscape.analyses.shared.populations import find_parts
from landscape.analyses.shared.products import (
    build_operator,
    count_gradients,
    group_quadratics,
    preconditioner_notes,
    product_facts,
    require_resampling,
    seconds_per_product,
)
from landscape.analyses.shared.sample_choice import (
    ChosenSamples,
    PartError,
    choose_samples,
    fit_options,
)
from landscape.analyses.trace import TraceResult
from landscape.analyses.trace_populations import add_traces_by_population
from landscape.analyses.trace_split import EXPECTED_TRACE_PRODUCTS, Beginning, begin_trace, may_split
from landscape.choices import NORMAL_HALF_WIDTH
from landscape.compute.budget import columns_per_pass, is_large, vector_room
from landscape.errors import UsageError
from landscape.operators.difference_errors import SPREAD
from landscape.operators.exact_trace import outputs_of_sample
from landscape.operators.pass_costs import product_memory

if TYPE_CHECKING:
    from landscape.analyses.trace import Trace
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

BEGINNING, PHASE = "beginning", "trace"  # phases: the choice of the matrix, and the estimator
MAX_SKETCH = 1024  # probes: with more, the small dense problems cost more than products
BLOCK_PROBES = 16  # probes outside the sketch from which each block's trace gets its standard error
STEP_PROBES = 8  # probes for the error of differences of gradients
KINK_NOISE = 3.0  # of a probe's kink by rounding alone, in standard deviations of its change: 2.1 on average
DATA_PROBES = 16  # probes for the data's part of the error


def measure(analysis: Trace, objective: Objective, resume: State | None) -> Generator[Progress, None, TraceResult]:
    """Yields after each step of the estimator; returns the trace and the estimates of all estimators."""
    analysis = fit_options(analysis, "rtol", objective.batches.samples)
    find_parts(analysis, objective)
    reference, at_hand = objective.reference, objective.batches.samples
    phases, chosen = Phases(resume), ChosenSamples(objective)
    if analysis.data_error:
        require_resampling(analysis, build_operator(analysis, objective), objective)
        chosen = yield from choose_samples(analysis, objective, phases, partial(_trace_data_error, analysis))
        objective = chosen.objective
    operator, groups = build_operator(analysis, objective), analysis.groups(objective)
    goal = _goal(analysis, objective, phase_state(PHASE, resume or {}) or phase_state(BEGINNING, resume or {}))
    require_resampling(analysis, operator, objective)
    begin = partial(begin_trace, analysis, objective, operator, groups, goal)
    beginning = yield from phases.run(BEGINNING, begin)
    state = yield from phases.run(PHASE, partial(_estimate, analysis, beginning, groups))
    data_error = _data_error(analysis, operator, objective)
    label_error = trace_label_error(analysis, operator)
    product_error = _product_error(operator, analysis.seed)
    beside = _products_beside(analysis, label_error, product_error)
    result = TraceResult(
        **_with_product_error(_with_labels(_estimates(analysis, state, beginning), label_error), product_error),
        product_error=product_error,
        label_standard_error=label_error,
        data_standard_error=None if data_error is None else data_error.standard_error,
        **_data_error_request(analysis, data_error, at_hand),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=preconditioner_notes(analysis, objective),
        **(_layers(state, groups, beginning.known_blocks) if groups else {}),
    )
    result = add_cost(result, chosen.gradients + count_gradients(objective, analysis.operator, products=beside))
    return result if analysis.by is None else (yield from add_traces_by_population(analysis, objective, result, phases))


def plan(analysis: Trace, objective: Objective) -> Plan:
    """Bytes of the sketch and of the graphs, and products to the half-width asked for, with their seconds."""
    goal, size = _goal(analysis, objective), objective.space.size
    products = round(min(EXPECTED_TRACE_PRODUCTS * (0.01 / analysis.rtol) ** 0.5, size, analysis.max_products))
    products += DATA_PROBES if analysis.resample else 0
    columns = min(goal.width, size)
    seconds = seconds_per_product(analysis, objective, columns)
    strategy, _ = product_facts(analysis, objective, columns)
    sketch = 2 * min(goal.capacity, products // 2) * objective.theta.nbytes
    memory = {"sketch": sketch, **product_memory(objective, analysis.operator, columns)}
    if may_split(analysis, objective) and outputs_of_sample(objective):
        memory["graphs of the exact part"] = product_memory(objective, "ggn", columns)["graphs"]
    facts = {"product": f"about {seconds:.3g} s"} | strategy
    total = seconds * (products + 1)
    return Plan(sum(memory.values()), products, total, facts, memory, phases={PHASE: total})


def _products_beside(analysis: Trace, label_error: float | None, product_error: float | None) -> int:
    """The products that tell errors: by the data, by the labels drawn, and by differences, of two products each."""
    of_data = DATA_PROBES if analysis.resample else 0
    of_labels = LABEL_PROBES if label_error is not None else 0
    return of_data + of_labels + (2 * STEP_PROBES if product_error is not None else 0)


def _goal(analysis: Trace, objective: Objective, resume: State | None = None) -> TraceGoal:
    """The options as the algorithm takes them, with the sketch of the run that is resumed, or as much as fits.

    Raises UsageError if the sketch does not fit into memory.
    """
    fitting = vector_room(objective.theta.device, objective.theta.nbytes, objective.graph_bytes)
    capacity = min(MAX_SKETCH, fitting // (2 * objective.theta.nbytes)) // PROBES_PER_PASS * PROBES_PER_PASS
    large = analysis.method == "auto" and is_large(objective.space.size)  # a sketch would take all the memory
    capacity = 0 if large else capacity
    width = columns_per_pass(PROBES_PER_PASS, objective.theta, objective.graph_bytes)
    if resume:
        capacity, width = int(resume["basis.shape"][0]), int(resume["width"])
    method = analysis.method
    if capacity < MIN_VALUES["xtrace"] and method != "hutchinson":
        if method != "auto":
            raise UsageError(
                f"{MIN_VALUES['xtrace']} sketched vectors of {method} do not fit into memory beside a product",
                fix="--method hutchinson",
            )
        method = "hutchinson"
    block_probes = BLOCK_PROBES if analysis.groups(objective) else 0
    return TraceGoal(method, analysis.rtol, analysis.max_products, capacity, block_probes, width)


def _estimate(
    analysis: Trace, beginning: Beginning, groups: Sequence[ParameterGroup], saved: State
) -> Generator[Progress, None, TraceState]:
    """Yields after each step of the estimator; returns the last state."""
    operator, goal, images = beginning.operator, beginning.goal, beginning.images
    state = first = restore_trace(saved, operator.like, analysis.seed) if saved else beginning.state
    for state in estimate_trace(operator, groups, goal, seed=analysis.seed, resume=first, images=images):
        yield _progress(analysis, state, goal)
    return state


def _progress(analysis: Trace, state: TraceState, goal: TraceGoal) -> Progress:
    products = f"{state.products} products"
    if state.columns:
        return Progress(state.columns, state.size, f"{products}, exact diagonal", partial(snapshot, state))
    chosen = preferred_estimate(state, goal)
    if chosen is None:
        return Progress(0, 100, products, partial(snapshot, state))
    needed = chosen.products_for(analysis.rtol * abs(chosen.value))
    share = chosen.products / needed if needed else 1.0
    note = f"{products}, {chosen.value:.5g} +- {chosen.half_width:.2g} by {chosen.estimator}"
    return Progress(min(100, round(100 * share)), 100, note, partial(snapshot, state))


def _estimates(analysis: Trace, state: TraceState, beginning: Beginning) -> dict[str, Any]:
    """The trace and the table of estimators; the trace is NaN, its interval infinite, while there is no estimate."""
    chosen = preferred_estimate(state, beginning.goal)
    if chosen is None:
        readings, value, error, half, draws = [], float("nan"), float("nan"), float("inf"), np.zeros(0)
    else:
        others = [reading for reading in trace_estimates(state) if reading.estimator != chosen.estimator]
        if beginning.pilot is not None:
            others += plain_estimate("hutchinson", beginning.pilot, len(beginning.pilot))
        readings, draws = [chosen, *others], chosen.draws
        value, error, half = chosen.value, chosen.error, chosen.half_width
    width = analysis.rtol * abs(value)
    return {
        "trace": value,
        "standard_error": error,
        "interval": np.array([value - half, value + half]),
        "rtol": analysis.rtol,
        "products": state.products,
        "cost_gradients": beginning.gradients + state.products * beginning.gradients_each,
        "known_trace": state.known if state.is_rest else None,
        "draws": draws if len(draws) else None,
        "estimator": np.array([reading.estimator for reading in readings], dtype=str),
        "estimator_trace": np.array([reading.value for reading in readings]),
        "estimator_standard_error": np.array([reading.error for reading in readings]),
        "estimator_products": np.array([reading.products for reading in readings], dtype=int),
        "estimator_needed": np.array([r.products if r.half_width == 0 else r.products_for(width) for r in readings]),
    }


def _with_labels(estimates: dict[str, Any], label_error: float | None) -> dict[str, Any]:
    """The estimates whose standard error and interval contain the error by the labels drawn, where it is known."""
    if label_error is None or np.isnan(label_error):
        return estimates
    value, half = estimates["trace"], np.ptp(estimates["interval"]) / 2
    half = np.hypot(half, NORMAL_HALF_WIDTH * label_error)
    error = float(np.hypot(estimates["standard_error"], label_error))
    return {**estimates, "standard_error": error, "interval": np.array([value - half, value + half])}


def _product_error(operator: LinearOperator, seed: int) -> float | None:
    """The error of the trace by differences of gradients, from probes of their own; None for exact products.

    A probe tells by how much another step changes it. Their mean is that change of the trace; their spread is rounding.
    Kinks at theta, which no step changes, count where they stand out of that.
    """
    found = []
    for index in range(STEP_PROBES):  # one by one: a block would set the peak of the memory
        errors = operator.quadratic_errors(trace_probe(operator.size, operator.like, seed, "step", index)[:, None])
        if errors is None:
            return None
        found.append(errors)
    changes, kinks, rounding = torch.cat(found, dim=1)
    spread = float(changes.std())
    certain = abs(float(changes.mean())) + NORMAL_HALF_WIDTH * spread / STEP_PROBES**0.5
    kink = max(float(kinks.mean()) - KINK_NOISE * spread, 0.0) / 2
    return float(SPREAD * max(certain + kink, float(rounding.mean())))


def _with_product_error(estimates: dict[str, Any], product_error: float | None) -> dict[str, Any]:
    """The estimates whose interval is wider on both sides by the error of the products."""
    wider = np.array([-1.0, 1.0]) * (product_error or 0.0)
    return {**estimates, "interval": estimates["interval"] + wider} if product_error else estimates


@dataclass(frozen=True)
class _DataError:
    """The standard error of the trace by the choice of samples (NaN if the probes hide it), and the trace of probes."""

    standard_error: float
    largest: float  # that the probes leave possible
    trace: float

    @property
    def relative(self) -> float:
        """The standard error relative to the trace; where the probes hide it, at most so much."""
        return relative_error(self.largest, 0.0, self.trace)


def _data_error(analysis: Trace, operator: LinearOperator, objective: Objective) -> _DataError | None:
    """The error of the trace over draws of the samples, from separate probes; None without --resample."""
    if not analysis.resample:
        return None
    width = columns_per_pass(DATA_PROBES, objective.theta, objective.graph_bytes)
    parts = []
    for first in range(0, DATA_PROBES, width):
        indices = range(first, min(first + width, DATA_PROBES))
        probes = [trace_probe(operator.size, operator.like, analysis.seed, "data", index) for index in indices]
        parts.append(group_quadratics(analysis, operator, objective, torch.stack(probes, dim=1)))
    sums, counts = np.concatenate([one for one, _ in parts], axis=1), parts[0][1]
    errors = data_standard_error(sums, counts), largest_data_standard_error(sums, counts)
    return _DataError(*errors, float(sums.mean(axis=1).sum() / counts.sum()))


def _trace_data_error(analysis: Trace, objective: Objective) -> Generator[Progress, None, PartError]:
    """Yields after the products of the probes; returns the error of the trace by the samples, relative to it."""
    error = _data_error(analysis, build_operator(analysis, objective), objective)
    yield Progress(0, 1, f"{DATA_PROBES} products", dict)
    cost = count_gradients(objective, analysis.operator, products=DATA_PROBES)
    return PartError(math.nan if error is None else error.relative, cost)


def _data_error_request(analysis: Trace, error: _DataError | None, at_hand: int) -> dict[str, Any]:
    """The error by the data beside the one that was asked for, if one was."""
    if not analysis.data_error or error is None:
        return {}
    target = parse_share(analysis.data_error)
    return {"data_error": error.relative, "data_error_target": target, "data_samples": at_hand}


def _layers(state: TraceState, groups: Sequence[ParameterGroup], known: np.ndarray) -> dict[str, Any]:
    """The columns of the table of layers, largest trace first; `known` are the exact parts of their traces."""
    values, errors = block_traces(state, groups)
    values = values + known
    share = values / (values.sum() or float("nan"))
    return layer_table(groups, values, {"trace": values, "standard_error": errors, "share": share})
