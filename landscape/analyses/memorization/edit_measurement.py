"""The measurement of `landscape edit`: factors, the sweep over rho, recitation, and the new weights."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.matrices.removal import (
    ActivationDirections,
    MatchedNoise,
    RandomComponents,
    Removal,
    RemovalMethod,
    RotatedComponents,
    SingularValues,
    eigenbasis,
)
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.memorization.components import (
    input_eigenbases,
    kfac_components,
    replace_weights,
    rho_columns,
    weight_matrices,
)
from landscape.analyses.memorization.edit import Edit
from landscape.analyses.memorization.edit_result import UNEDITED, EditResult
from landscape.analyses.memorization.factors import PHASE, measure_factors
from landscape.analyses.memorization.population_outcomes import measure_points
from landscape.analyses.memorization.setup import CurvatureSetup, curvature_setup, estimate_cost
from landscape.analyses.memorization.sweep import RhoSweep, before_and_after, point_name, sweep_columns
from landscape.analyses.shared.phases import Phases
from landscape.choices import CLEAN, DATA, HELD_OUT
from landscape.errors import UsageError, suggest
from landscape.evaluation.layers.kfac import Factor
from landscape.evaluation.per_sample.recitation import recite, texts
from landscape.objective import Objective


def plan(analysis: Edit, objective: Objective) -> Plan:
    """The cost of the factors and of the losses at every rho."""
    setup = curvature_setup(analysis, objective)
    facts = {
        "rho": ", ".join(f"{rho:g}" for rho in analysis.rhos),
        "bounded by": bounding_population(analysis.bounded_by, setup.populations),
    }
    return estimate_cost(objective, setup, gradients=2, points=len(analysis.rhos), facts=facts)


def measure(analysis: Edit, objective: Objective, resume: State | None = None) -> Generator[Progress, None, EditResult]:
    """Measures the factors, then every population along the sweep, and makes the weights at the chosen rho."""
    reference, phases = objective.reference, Phases(resume)
    setup = curvature_setup(analysis, objective)
    measured = dict(setup.populations) or {DATA: objective}
    bounding = bounding_population(analysis.bounded_by, measured)
    measured.setdefault(bounding, objective)
    factors = yield from phases.run(PHASE, partial(measure_factors, setup))
    methods = removal_methods(analysis, objective, setup, factors.by_layer)
    points = {point_name(rho): partial(_theta, objective, setup, methods, rho) for rho in analysis.rhos}
    sweep = RhoSweep(analysis.rhos, bounding, analysis.max_loss_increase, len(analysis.rho))
    outcomes = yield from phases.run(
        "sweep", lambda saved: measure_points(measured, points, saved, note="sweep", enough=sweep.exceeds_budget)
    )
    chosen = sweep.choose(outcomes)
    recitations = yield from phases.run("recitation", partial(_measure_recitation, measured, points, list(outcomes)))
    removals = {name: method.remove(chosen) for name, method in methods.items()}
    increase, error = sweep.loss_increase(outcomes, chosen)
    columns: dict[str, Any] = sweep_columns(outcomes, recitations, list(measured))
    return EditResult(
        **columns,
        **before_and_after(columns, list(outcomes).index(point_name(chosen))),
        **_sweep_table(rho_columns(methods, sweep.rhos_in(outcomes))),
        bound_loss=np.array([one[bounding].loss for one in outcomes.values()]),
        population_samples=np.array([one.batches.samples for one in measured.values()]),
        layer=np.array(list(methods)),
        layer_kept_fraction=np.array([one.kept / one.size for one in removals.values()]),
        layer_weight_energy=np.array([one.energy for one in removals.values()]),
        bounded_by=np.array([bounding]),
        chosen_rho=chosen,
        loss_increase=increase,
        loss_increase_se=error,
        max_loss_increase=analysis.max_loss_increase,
        loss=reference.loss,
        parameters=objective.space.size,
        edited_parameters=sum(layer.size for layer in setup.layers),
        samples=objective.batches.samples,
        factors=factors.arrays,
        weights={} if chosen == UNEDITED else _new_weights(setup, removals),
        notes=(*setup.notes, *factors.notes),
    )


def bounding_population(name: str | None, measured: Mapping[str, Objective]) -> str:
    """The population whose loss bounds the edit; raises UsageError for a name that no population has."""
    if name is None:
        return next((usual for usual in (CLEAN, HELD_OUT) if usual in measured), DATA)
    if name not in (DATA, *measured):
        raise UsageError(
            f"there is no population {suggest(name, measured)} for --bounded-by",
            fix=f"one of {', '.join(dict.fromkeys((DATA, *measured)))}, or --population {name}=DATA",
        )
    return name


def removal_methods(
    analysis: Edit, objective: Objective, setup: CurvatureSetup, factors: Mapping[str, Factor]
) -> dict[str, RemovalMethod]:
    """For each layer, the method that `--method` names."""
    weights = weight_matrices(objective, setup.layers)
    if analysis.method == "svd":
        return {name: SingularValues(weight) for name, weight in weights.items()}
    if analysis.method == "activation":
        bases = input_eigenbases(factors)
        return {name: ActivationDirections(weight, bases[name]) for name, weight in weights.items()}
    if analysis.method == "coupled":
        pairs = {name: factor.coupled_factors for name, factor in factors.items()}
        return {n: RotatedComponents(weights[n], eigenbasis(g), eigenbasis(a)) for n, (a, g) in pairs.items()}
    components = kfac_components(weights, factors)
    if analysis.method == "kfac":
        return dict(components)
    control = RandomComponents if analysis.method == "random" else MatchedNoise
    return {name: control(method, analysis.seed, "edit", name) for name, method in components.items()}


def _theta(objective: Objective, setup: CurvatureSetup, methods: Mapping[str, RemovalMethod], rho: float) -> Tensor:
    """Theta `(P,)` at a rho; at 1 the objective's own, bit for bit."""
    if rho == UNEDITED:
        return objective.theta
    weights = {name: method.remove(rho).weight for name, method in methods.items()}
    return replace_weights(objective, weights, setup.layers)


def _measure_recitation(
    measured: Mapping[str, Objective], points: Mapping[str, Callable[[], Tensor]], names: Sequence[str], saved: State
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """The shares of texts and of tokens that each population recites, `(2, populations)` by point.

    NaN for a population that is not texts; nothing if no population is.
    """
    arrays = dict(saved)
    sequences = {name: texts(one) for name, one in measured.items()}
    if not any(sequences.values()):
        return {}
    for done, point in enumerate(names, start=1):
        if point not in arrays:
            theta = points[point]()
            pairs = {name: recite(measured[name], found, theta) for name, found in sequences.items() if found}
            rows = [(pairs[n].whole, pairs[n].tokens) if n in pairs else (np.nan, np.nan) for n in measured]
            arrays[point] = np.array(rows).T
            yield Progress(done, len(names), f"recitation, {point}", partial(dict, dict(arrays)))
    return arrays


def _sweep_table(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The columns over rho that the method defines: noise and random components have no curvature mass."""
    names = ("rho", "kept_fraction", "weight_energy", "curvature_mass")
    return {name: columns[name] for name in names if not np.isnan(columns[name]).any()}


def _new_weights(setup: CurvatureSetup, removals: Mapping[str, Removal]) -> dict[str, np.ndarray]:
    """The new weights by parameter, float64, in the parameters' own shapes."""
    return {one.parameter: one.weight(removals[one.name].weight).cpu().numpy().copy() for one in setup.layers}
