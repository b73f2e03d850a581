"""Measures sensitivity: the diagonal for saliencies, forecasts by block products, real changes, and chosen bits."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from landscape.analyses import diagonal_measurement
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.diagonal import Diagonal, DiagonalResult
from landscape.analyses.sensitivity.allocation import Allocation, allocate_bits, allocation_costs, measure_allocation
from landscape.analyses.sensitivity.change_vectors import ChangeVectors
from landscape.analyses.sensitivity.comparison import compare_layers, compare_together
from landscape.analyses.sensitivity.forecast import count_products, forecast_changes
from landscape.analyses.sensitivity.layers_to_change import layers_to_change, note_on_other_layers
from landscape.analyses.sensitivity.real_changes import measure_real_changes
from landscape.analyses.sensitivity.sample_groups import SampleGroups, sample_groups
from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult
from landscape.analyses.sensitivity.weight_changes import Granularity
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.products import build_operator, count_gradients, product_facts, seconds_per_product
from landscape.compute.budget import columns_per_pass
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators.pass_costs import FORWARD_SHARE, product_memory

if TYPE_CHECKING:
    from landscape.analyses.sensitivity.sensitivity import Sensitivity
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

DIAGONAL, FORECAST, REAL, ALLOCATION = "diagonal", "forecast", "real", "allocation"  # phases
VECTORS = 3  # of P numbers besides a block of columns: a change, the weights that it moves, and its part of a layer


def measure(
    analysis: Sensitivity, objective: Objective, resume: State | None
) -> Generator[Progress, None, SensitivityResult]:
    """Yields after each block of products and each forward pass; returns forecasts beside real changes."""
    operator, reference = build_operator(analysis, objective), objective.reference
    layers, changes = layers_to_change(analysis, objective), analysis.changes
    groups, phases = sample_groups(objective, analysis.sample_groups), Phases(resume)
    diagonal = None
    if analysis.needs_saliency:
        diagonal = yield from phases.run(DIAGONAL, partial(_measure_diagonal, analysis, objective))
    vectors = _vectors(analysis, objective, layers, diagonal)
    steps = partial(forecast_changes, objective, operator, vectors, changes, groups)
    forecast = yield from phases.run(FORECAST, steps)
    measuring = partial(measure_real_changes, objective, vectors, changes, groups)
    real = yield from phases.run(REAL, measuring)
    counts = groups.group_counts
    columns = compare_layers(forecast, real, counts, analysis.tolerance)
    together = compare_together(forecast, real, counts, columns["holds"], analysis.seed)
    chosen: dict[str, Any] = {}
    if analysis.budget is not None:
        allocation = _allocate(analysis, layers, columns)
        trying = partial(measure_allocation, objective, vectors, allocation, real.base, groups)
        found = yield from phases.run(ALLOCATION, trying)
        chosen = {**_allocation_fields(allocation, layers), **found}
    return SensitivityResult(
        **_names(analysis, layers),
        **{f"change_{name}": values for name, values in columns.items()},
        **{f"kind_{name}": values for name, values in together.items()},
        **chosen,
        layers=len(layers),
        changed_parameters=sum(layer.size for layer in layers),
        products=2 * len(changes),
        cost_gradients=_cost(analysis, objective, len(layers), diagonal),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=_notes(objective, layers, groups, diagonal),
    )


def plan(analysis: Sensitivity, objective: Objective) -> Plan:
    """Bytes of the changes and of a product's graphs; seconds of products, forward passes and the diagonal."""
    layers, changes = layers_to_change(analysis, objective), len(analysis.changes)
    columns = columns_per_pass(changes, objective.theta, objective.graph_bytes)
    facts, _ = product_facts(analysis, objective, columns)
    memory = {**product_memory(objective, analysis.operator, columns), "changes": VECTORS * objective.theta.nbytes}
    products = count_products(analysis.operator, objective.settings.hvp, changes, len(layers))
    passes = _passes(analysis, len(layers))
    phases: dict[str, float] = {}
    if analysis.needs_saliency:
        of_diagonal = diagonal_measurement.plan(_diagonal(analysis), objective)
        phases, memory = {DIAGONAL: of_diagonal.seconds}, {**memory, "diagonal": of_diagonal.bytes}
    phases[FORECAST] = products * seconds_per_product(analysis, objective, columns)
    phases[REAL] = (1 + FORWARD_SHARE * passes) * seconds_per_gradient(objective)
    facts |= {"layers": str(len(layers)), "forward passes": f"{passes:,}"}
    return Plan(sum(memory.values()), round(products), sum(phases.values()), facts, memory, phases)


def _diagonal(analysis: Sensitivity) -> Diagonal:
    """The measurement of the diagonal that saliencies take: of the Gauss-Newton matrix, as in LeCun et al. 1990."""
    return Diagonal(operator="ggn", seed=analysis.seed)


def _measure_diagonal(
    analysis: Sensitivity, objective: Objective, saved: State
) -> Generator[Progress, None, DiagonalResult]:
    return diagonal_measurement.measure(_diagonal(analysis), objective, saved)


def _vectors(
    analysis: Sensitivity, objective: Objective, layers: Sequence[ParameterGroup], diagonal: DiagonalResult | None
) -> ChangeVectors:
    """The changes of the weights, with saliencies h_ii w_i^2 / 2 if the diagonal is known."""
    saliency = None
    if diagonal is not None and diagonal.diagonal is not None:
        curvatures = torch.from_numpy(diagonal.diagonal).to(objective.theta.device)
        saliency = curvatures * objective.theta.double().square() / 2
    return ChangeVectors(objective, layers, Granularity.parse(analysis.granularity), saliency)


def _names(analysis: Sensitivity, layers: Sequence[ParameterGroup]) -> dict[str, Any]:
    """The names and sizes of all layers for each kind of change, and of the kinds."""
    pairs = [(layer, change.name) for change in analysis.changes for layer in layers]
    return {
        "change": np.array([f"{layer.name} {name}" for layer, name in pairs]),
        "change_layer": np.array([layer.name for layer, _ in pairs]),
        "change_kind": np.array([name for _, name in pairs]),
        "change_parameters": np.array([layer.size for layer, _ in pairs]),
        "kind": np.array([change.name for change in analysis.changes]),
    }


def _allocate(analysis: Sensitivity, layers: Sequence[ParameterGroup], columns: dict[str, np.ndarray]) -> Allocation:
    """The bits of smallest summed change: real, forecast, or by the curvature alone, as asked."""
    values = columns["curvature"] / 2 if analysis.allocate_by == "curvature" else columns[analysis.allocate_by]
    table = values.reshape(len(analysis.changes), len(layers)).T
    bits, costs = allocation_costs(analysis.changes, table)
    sizes = np.array([layer.size for layer in layers])
    return allocate_bits(costs, sizes, bits, analysis.budget or 0.0)


def _allocation_fields(allocation: Allocation, layers: Sequence[ParameterGroup]) -> dict[str, Any]:
    """The chosen bits by layer, and on average."""
    return {
        "layer": np.array([layer.name for layer in layers]),
        "layer_parameters": allocation.sizes,
        "layer_bits": allocation.bits,
        "allocation_bits": allocation.mean_bits,
        "allocation_expected": allocation.expected,
        "uniform_bits": allocation.uniform,
    }


def _passes(analysis: Sensitivity, layers: int) -> int:
    """Forward passes over the data: at theta, with every change of a layer and of all, and with the chosen bits."""
    return 1 + len(analysis.changes) * (layers + 1) + (2 if analysis.budget is not None else 0)


def _cost(analysis: Sensitivity, objective: Objective, layers: int, diagonal: DiagonalResult | None) -> float:
    """The work in gradients of the loss over the full data."""
    products = count_products(analysis.operator, objective.settings.hvp, len(analysis.changes), layers)
    own = count_gradients(
        objective, analysis.operator, products=products, gradients=1, losses=_passes(analysis, layers)
    )
    return own + ((diagonal.cost_gradients or 0.0) if diagonal else 0.0)


def _notes(
    objective: Objective, layers: tuple[ParameterGroup, ...], groups: SampleGroups, diagonal: DiagonalResult | None
) -> tuple[str, ...]:
    """Which parameters stay, where errors come from, and what the saliencies rest on."""
    notes = [note_on_other_layers(objective, layers)]
    if not groups.by_sample:
        count = len(groups.counts)
        notes.append(f"samples have no losses of their own here: all errors are those of {count} groups of samples")
    if len(groups.cuts) == 0:
        notes.append("a single group of samples has no scatter: errors are not known")
    if diagonal is not None and (trouble := diagonal.inconclusive()):
        notes.append(f"saliencies rest on an uncertain diagonal: {trouble.why}")
    return tuple(filter(None, notes))
