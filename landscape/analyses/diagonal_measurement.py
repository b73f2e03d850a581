"""Measures the diagonal: by squares of single samples' gradients, by products with random signs, or by both."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from landscape.algorithms.estimators.diagonal.run import DiagonalProblem, estimate_diagonal, forecast_products
from landscape.algorithms.estimators.diagonal.state import (
    PROBES_PER_PASS,
    DiagonalGoal,
    DiagonalState,
    error_and_square,
    initial_diagonal_state,
    relative_norm,
)
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.diagonal import DiagonalResult
from landscape.analyses.diagonal_samples import sum_samples
from landscape.analyses.diagonal_split import DiagonalBeginning, begin_diagonal
from landscape.analyses.diagonal_table import DiagonalEstimate, summarize
from landscape.analyses.shared.phases import Phases, phase_state
from landscape.analyses.shared.products import (
    build_operator,
    preconditioner_notes,
    product_facts,
    seconds_per_product,
)
from landscape.compute.budget import columns_per_pass, is_large, vector_room
from landscape.errors import UsageError
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators.output_vectors import choose_vectors
from landscape.operators.pass_costs import product_memory
from landscape.operators.sample_diagonal import gradients_of_pass

if TYPE_CHECKING:
    from landscape.analyses.diagonal import Diagonal
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

SAMPLES, BEGINNING, PROBES = "samples", "beginning", "probes"  # phases
MAX_SKETCH = 512  # rows of Q: with more, projections take longer than products
SUM_VECTORS = 8  # of P numbers of 8 bytes, in the host's memory: sums over samples, and the values of probes
# Probes to a norm of errors of .1 without a sketch, beside an exact part (digits-mlp 340, digits-noisy 200) and alone
EXPECTED_PROBES, EXPECTED_PROBES_ALONE = 200.0, 5000.0  # (digits-mlp 8,000)
EXPECTED_PASSES = 4  # of drawn vectors


def measure(
    analysis: Diagonal, objective: Objective, resume: State | None
) -> Generator[Progress, None, DiagonalResult]:
    """Yields after each pass over the data or block of products; returns the diagonal and its summary."""
    _require_errors(objective)
    operator, reference = build_operator(analysis, objective), objective.reference
    groups, phases = analysis.groups(objective), Phases(resume)
    measured = (*groups, objective.space.whole_group())
    vectors = choose_vectors(objective, analysis.operator, seed=analysis.seed, labels=analysis.labels)
    if vectors is not None:
        steps = partial(sum_samples, analysis, objective, vectors, measured)
        estimate = yield from phases.run(SAMPLES, steps)
    else:
        _require_single_samples(analysis)
        goal = _goal(analysis, objective, phase_state(PROBES, resume or {}))
        begin = partial(begin_diagonal, analysis, objective, operator, measured, goal)
        beginning = yield from phases.run(BEGINNING, begin)
        state = yield from phases.run(PROBES, partial(_multiply, analysis, beginning, measured))
        estimate = _from_products(beginning, state)
    return DiagonalResult(
        **summarize(analysis, estimate, objective, groups),
        rtol=analysis.rtol,
        products=estimate.products,
        draws=estimate.draws,
        cost_gradients=estimate.gradients,
        known_trace=estimate.known_trace,
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=preconditioner_notes(analysis, objective),
    )


def plan(analysis: Diagonal, objective: Objective) -> Plan:
    """Bytes of the sums, the sketch and the graphs, and the seconds of passes and products."""
    _require_errors(objective)
    sums = {"sums and errors": SUM_VECTORS * 8 * objective.space.size}
    vectors = choose_vectors(objective, analysis.operator, seed=analysis.seed, labels=analysis.labels)
    split = choose_vectors(objective, "ggn") if analysis.operator == "hessian" else None
    exact = vectors or (split if split is not None and split.exact else None)
    passes = 1 if exact is None or exact.exact else EXPECTED_PASSES
    gradients = 0.0 if exact is None else passes * gradients_of_pass(exact.per_pass, all_known=True)
    facts = {} if exact is None else {"samples' gradients": f"about {gradients:.0f} gradients of the loss"}
    graphs = product_memory(objective, "ggn", 1)["graphs"]
    seconds = gradients * seconds_per_gradient(objective)
    if vectors is not None:
        memory = {**sums, "graphs of the samples' gradients": graphs}
        return Plan(sum(memory.values()), 0, seconds, facts, memory)
    _require_single_samples(analysis)
    goal = _goal(analysis, objective)
    spread = (EXPECTED_PROBES_ALONE if exact is None else EXPECTED_PROBES) * (0.1 / analysis.rtol) ** 2
    products = round(min(forecast_products(spread, goal.capacity), objective.space.size, analysis.max_products))
    columns = min(goal.width, objective.space.size)
    each = seconds_per_product(analysis, objective, columns) * (1 if exact is None else 2)
    strategy, _ = product_facts(analysis, objective, columns)
    sketch = 2 * min(goal.capacity, products // 2) * objective.theta.nbytes
    memory = {**sums, "sketch": sketch, **product_memory(objective, analysis.operator, columns)}
    facts = facts | {"product": f"about {each:.3g} s"} | strategy
    return Plan(sum(memory.values()), products, seconds + each * products, facts, memory)


def _require_errors(objective: Objective) -> None:
    """Raises UsageError for differences of gradients, whose errors are known of sums of entries alone."""
    if objective.settings.hvp == "difference":
        raise UsageError(
            "--hvp difference does not tell the error of single entries of the diagonal",
            why="it measures the error of v'Hv along random vectors, which is that of sums of entries",
            fix="--hvp auto, or --operator ggn; landscape trace --hvp difference for the sum",
        )


def _require_single_samples(analysis: Diagonal) -> None:
    """Raises UsageError for drawn labels without single samples' gradients: their error would stay unknown."""
    if analysis.operator == "fisher":
        raise UsageError(
            "the error of the Fisher matrix's diagonal by the labels drawn is not known here",
            why="it is told from the gradients of single samples, which this model, loss or --mode do not have, or "
            "whose weights are stored in another precision",
            fix="--operator ggn, the mean over all labels for cross-entropy, mse and bce",
        )


def _goal(analysis: Diagonal, objective: Objective, saved: State | None = None) -> DiagonalGoal:
    """The options as the algorithm takes them, with the sketch of the run that is resumed, or as much as fits."""
    if saved:
        capacity, width = int(saved["basis.shape"][0]), int(saved["width"])
    else:
        fitting = vector_room(objective.device, objective.theta.nbytes, objective.graph_bytes)
        fitting //= 2 * objective.theta.nbytes
        whole = min(MAX_SKETCH, fitting, objective.space.size) // PROBES_PER_PASS * PROBES_PER_PASS
        capacity = 0 if is_large(objective.space.size) else whole
        width = columns_per_pass(PROBES_PER_PASS, objective.theta, objective.graph_bytes)
    return DiagonalGoal(analysis.rtol, analysis.max_products, capacity, width)


def _multiply(
    analysis: Diagonal, beginning: DiagonalBeginning, groups: Sequence[ParameterGroup], saved: State
) -> Generator[Progress, None, DiagonalState]:
    """Yields after each block of products; returns the last state."""
    operator, goal = beginning.operator, beginning.goal
    problem = DiagonalProblem(operator, groups, analysis.seed, beginning.images)
    first = beginning.state or initial_diagonal_state(operator.like, operator.size, len(groups), goal)
    state = first = restore(DiagonalState, saved, operator.like) if saved else first
    for state in estimate_diagonal(problem, goal, first):
        yield _progress(beginning, state)
    return state


def _progress(beginning: DiagonalBeginning, state: DiagonalState) -> Progress:
    products = f"{beginning.products + beginning.columns * state.products} products"
    if state.exact:
        return Progress(state.exact, state.size, f"{products}, entry by entry", partial(snapshot, state))
    if state.probes < 2:
        return Progress(0, 100, f"{products}, sketch of rank {state.rank}", partial(snapshot, state))
    reached = relative_norm(*error_and_square(state, beginning.goal))
    share = min(1.0, (beginning.goal.rtol / reached) ** 2) if reached else 1.0
    note = f"{products}, errors {reached:.2g} of the diagonal"
    return Progress(round(100 * share), 100, note, partial(snapshot, state))


def _from_products(beginning: DiagonalBeginning, state: DiagonalState) -> DiagonalEstimate:
    """The known part and what the products tell."""
    known = beginning.known
    diagonal = state.diagonal()
    return DiagonalEstimate(
        diagonal=diagonal if known is None else known + diagonal,
        variance=state.variance(),
        group_variance=state.group_variance(),
        probes=0 if state.exact else state.probes,
        products=beginning.products + beginning.columns * state.products,
        gradients=beginning.gradients + beginning.gradients_each * state.products,
        known_trace=None if known is None else float(known.sum()),
    )
