"""Measures the density: Lanczos runs of all probes in lockstep, first for the whole matrix, then for its blocks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.algorithms.lanczos.basis import rounding_floor
from landscape.algorithms.lanczos.batched import BatchedLanczosState, QuadratureRule, batched_lanczos
from landscape.algorithms.lanczos.exact_outliers import rules_with_exact_outliers
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.density import FIRST_LOOKS
from landscape.analyses.density_numbers import density_result
from landscape.analyses.shared.label_noise import LABEL_PROBES, trace_label_error
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.analyses.shared.products import (
    BLOCK_COST,
    build_operator,
    count_gradients,
    gradients_per_product_by_count,
    preconditioner_notes,
    product_facts,
    products_of_blocks,
    seconds_per_product,
)
from landscape.analyses.shared.work_budget import best_within, describe_price
from landscape.compute.budget import columns_per_pass, vector_room
from landscape.errors import UsageError
from landscape.objective.counted_time import seconds_of_numbers_by_count, seconds_per_gradient_by_count
from landscape.operators.pass_costs import product_memory

# numbers read and written for each vector of a basis: two sweeps of orthogonalization, each with overlaps and a sum
NUMBERS_PER_ROW = 4

if TYPE_CHECKING:
    from landscape.analyses.density import Density, DensityResult
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective
    from landscape.operators import LinearOperator


def measure(analysis: Density, objective: Objective, resume: State | None) -> Generator[Progress, None, DensityResult]:
    """Yields after each pass over the data; returns the density and its numbers."""
    if objective.function.in_parts and _steps(analysis, objective.space.size) >= len(objective.theta):
        raise UsageError(  # snapshots tell parts of vectors by their length
            f"--shard on holds {len(objective.theta)} numbers of a vector here, and there are as many --steps",
            fix="--shard off",
        )
    operator, groups = build_operator(analysis, objective), analysis.groups(objective)
    reference = objective.reference
    together = _probes_at_once(analysis, objective, resume)
    whole = phase_state("whole", resume or {})
    if not whole:
        everything = [objective.space.whole_group()]
        state = yield from _run(analysis, operator, everything, together, resume, "all", {})
        whole = {"scale": state.scale.max(), "products": np.asarray(state.products)}
        for name, steps in (("rule", state), ("half", state if state.ended else state.first_half())):
            whole |= prefix_state(name, _rule_arrays(rules_with_exact_outliers(steps, everything)[0]))
        del state, steps  # and with them the basis
    block_rules: list[QuadratureRule] = []
    products, label_error = float(whole["products"]), trace_label_error(analysis, operator)
    if groups:
        blocks, done = operator.block_diagonal(groups), prefix_state("whole", whole)
        state = yield from _run(analysis, blocks, groups, together, resume, "layers", done)
        block_rules = rules_with_exact_outliers(state, groups)
        products += products_of_blocks(state.products, len(groups))
    products += LABEL_PROBES if label_error is not None else 0
    return density_result(
        analysis,
        _rule_from_arrays(phase_state("rule", whole)),
        _rule_from_arrays(phase_state("half", whole)),
        dict(zip(groups, block_rules, strict=True)),
        max(rounding_floor(objective.dtype, float(whole["scale"])), operator.product_error),
        label_standard_error=label_error,
        products=int(whole["products"]),
        cost_gradients=count_gradients(objective, analysis.operator, products=products),
        exact_weights=together == analysis.sizes[0],
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=preconditioner_notes(analysis, objective),
    )


def plan(analysis: Density, objective: Objective) -> Plan:
    """Bytes of the bases and of the graphs, and the products of all probes, with their seconds."""
    together = _probes_at_once(analysis, objective)
    steps = _steps(analysis, objective.space.size)
    products, groups = steps * analysis.sizes[0], analysis.groups(objective)
    seconds = seconds_per_product(analysis, objective, together)
    strategy, _ = product_facts(analysis, objective, together)
    basis = together * (steps + 1) * objective.theta.nbytes
    memory = {"basis": basis, **product_memory(objective, analysis.operator, together)}
    return Plan(
        bytes=sum(memory.values()),
        products=products,
        seconds=seconds * (products + 1) * (1 + bool(groups) + len(groups) * BLOCK_COST),
        facts={
            "sizes": _describe_sizes(analysis, objective),
            "probes at once": str(together),
            "product": f"about {seconds:.3g} s",
        }
        | strategy,
        memory=memory,
    )


def sizes_within_budget(analysis: Density, objective: Objective) -> tuple[int, int]:
    """The probes and steps of the best first look that the budget buys, by counted operations.

    Models whose weights lie in parts are large: no rank counts a gradient of theirs, and the look is the smallest.
    """
    if objective.function.in_parts:
        return FIRST_LOOKS[-1]
    gradient = seconds_per_gradient_by_count(objective)
    return best_within(
        FIRST_LOOKS, lambda sizes: _seconds_by_count(analysis, objective, sizes, gradient), analysis.budget
    )


def _seconds_by_count(analysis: Density, objective: Objective, sizes: tuple[int, int], gradient: float) -> float:
    """The counted seconds of so many probes and steps, where a gradient takes `gradient` seconds."""
    probes, steps, groups = sizes[0], min(sizes[1], objective.space.size), len(analysis.groups(objective))
    products = probes * steps * gradients_per_product_by_count(analysis, objective) * gradient
    basis = probes * steps**2 / 2 * NUMBERS_PER_ROW * objective.space.size
    phases = 1 + bool(groups) + groups * BLOCK_COST
    return phases * (products + seconds_of_numbers_by_count(objective, basis))


def _run(
    analysis: Density,
    operator: LinearOperator,
    groups: Sequence[ParameterGroup],
    together: int,
    resume: State | None,
    phase: str,
    done: State,
) -> Generator[Progress, None, BatchedLanczosState]:
    """The runs of all probes for these groups; `done` is the state of an earlier phase, kept in every snapshot."""
    steps = _steps(analysis, operator.size)
    phases = 1 + bool(analysis.per_layer or analysis.blocks)
    saved = phase_state(phase, resume or {})
    state = restore(BatchedLanczosState, saved, operator.like) if saved else None
    running = batched_lanczos(
        operator,
        groups,
        probes=analysis.sizes[0],
        steps=steps,
        probes_per_pass=together,
        seed=analysis.seed,
        resume=state,
    )
    passes = -(-analysis.sizes[0] // together) * steps
    for state in running:
        here = steps * (state.products / (passes * together) if not state.finished else 1)
        yield Progress(
            done=round(here) + (steps if done else 0),
            total=steps * phases,
            note=f"{state.products} products" + (f" for {len(groups)} blocks" if done else ""),
            state=lambda now=state: {**done, **prefix_state(phase, snapshot(now)), "together": np.asarray(together)},  # type: ignore[misc]
        )
    assert state is not None  # at least one step
    return state


def _steps(analysis: Density, size: int) -> int:
    return min(analysis.sizes[1], size)


def _describe_sizes(analysis: Density, objective: Objective) -> str:
    """The probes and steps in words, with their counted time."""
    (probes, steps), gradient = analysis.sizes, seconds_per_gradient_by_count(objective)
    counted = _seconds_by_count(analysis, objective, analysis.sizes, gradient)
    smallest = analysis.sizes == FIRST_LOOKS[-1]
    price = describe_price(counted, analysis.budget, objective.batches.samples, smallest=smallest)
    return f"{probes} probes x {min(steps, objective.space.size)} steps, {price}"


def _probes_at_once(analysis: Density, objective: Objective, resume: State | None = None) -> int:
    """How many probes share a pass: as many as in the run that is resumed, or as fit into memory.

    Raises UsageError if not even the basis of one fits.
    """
    if resume:
        return int(resume["together"])
    each = (_steps(analysis, objective.space.size) + 1) * objective.theta.nbytes
    fitting = vector_room(objective.theta.device, objective.theta.nbytes, objective.graph_bytes) // each
    if not fitting:
        raise UsageError(
            f"{analysis.sizes[1]} --steps hold {each:.3g} bytes, more than the memory holds beside a product",
            fix="fewer --steps, or --params",
        )
    probes = analysis.sizes[0]
    return min(probes, fitting, columns_per_pass(probes, objective.theta, objective.graph_bytes))


def _rule_arrays(rule: QuadratureRule) -> dict[str, np.ndarray]:
    """The rule as arrays, for a snapshot."""
    return {name: np.asarray(value) for name, value in vars(rule).items()}


def _rule_from_arrays(arrays: State) -> QuadratureRule:
    """The rule that a snapshot's arrays hold."""
    return QuadratureRule(arrays["nodes"], arrays["weights"], arrays["residuals"], int(arrays["size"]))
