"""The measurement of `landscape edit`: factors, the sweep over rho, recitation, and the new weights."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from landscape.algorithms.matrices.removal import MatchedNoise, RandomComponents, RemovalMethod
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.memorization.components import rho_columns, theta_with
from landscape.analyses.memorization.cost import KroneckerWork, estimate_cost
from landscape.analyses.memorization.decompositions import Decompositions
from landscape.analyses.memorization.edit import Edit
from landscape.analyses.memorization.edit_result import UNEDITED, EditResult
from landscape.analyses.memorization.factors import PHASE, measure_factors
from landscape.analyses.memorization.population_outcomes import Points, measure_points
from landscape.analyses.memorization.setup import CurvatureSetup, curvature_setup
from landscape.analyses.memorization.sweep import RhoSweep, before_and_after, point_name, sweep_columns
from landscape.analyses.shared.phases import Phases
from landscape.choices import CLEAN, DATA, HELD_OUT
from landscape.errors import UsageError, suggest
from landscape.evaluation.layers.on_demand import OnDemand
from landscape.evaluation.layers.tensor_store import TensorStore
from landscape.evaluation.per_sample.recitation import recite, texts
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective
from landscape.objective.model_function import Theta


def plan(analysis: Edit, objective: Objective) -> Plan:
    """The cost of the factors and of the losses at every rho."""
    setup = curvature_setup(analysis, objective)
    facts = {
        "rho": ", ".join(f"{rho:g}" for rho in analysis.rhos),
        "bounded by": bounding_population(analysis.bounded_by, setup.populations),
    }
    work = KroneckerWork(len(analysis.rhos), edits=2 * len(analysis.rhos))
    return estimate_cost(objective, setup, work, facts, sweep="sweep")


def measure(analysis: Edit, objective: Objective, resume: State | None = None) -> Generator[Progress, None, EditResult]:
    """Measures the factors, then every population along the sweep, and makes the weights at the chosen rho."""
    reference, phases = objective.reference, Phases(resume)
    setup = curvature_setup(analysis, objective)
    measured = dict(setup.populations) or {DATA: objective}
    bounding = bounding_population(analysis.bounded_by, measured)
    measured.setdefault(bounding, objective)
    factors = yield from phases.run(PHASE, partial(measure_factors, setup))
    methods = removal_methods(analysis, Decompositions(objective, setup.layers, factors))
    points = {point_name(rho): partial(_theta, objective, setup, methods, rho) for rho in analysis.rhos}
    sweep = RhoSweep(analysis.rhos, bounding, analysis.max_loss_increase, len(analysis.rho))
    outcomes = yield from phases.run(
        "sweep", lambda saved: measure_points(measured, points, saved, note="sweep", enough=sweep.exceeds_budget)
    )
    chosen = sweep.choose(outcomes)
    recitations = yield from phases.run("recitation", partial(_measure_recitation, measured, points, list(outcomes)))
    weights, kept, energy = _edit(objective, setup.layers, methods, chosen)
    increase, error = sweep.loss_increase(outcomes, chosen)
    columns: dict[str, Any] = sweep_columns(outcomes, recitations, list(measured))
    return EditResult(
        **columns,
        **before_and_after(columns, list(outcomes).index(point_name(chosen))),
        **_sweep_table(rho_columns(methods, sweep.rhos_in(outcomes))),
        bound_loss=np.array([one[bounding].loss for one in outcomes.values()]),
        population_samples=np.array([one.batches.samples for one in measured.values()]),
        layer=np.array(list(methods)),
        layer_kept_fraction=kept,
        layer_weight_energy=energy,
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
        weights={} if chosen == UNEDITED else weights,
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


def removal_methods(analysis: Edit, decompositions: Decompositions) -> Mapping[str, RemovalMethod]:
    """For each layer, the method that `--method` names."""
    if analysis.method == "svd":
        return decompositions.svd()
    if analysis.method == "activation":
        return decompositions.activation()
    if analysis.method == "coupled":
        return decompositions.kfac_from_coupling()
    components = decompositions.kfac()
    if analysis.method == "kfac":
        return components
    control = RandomComponents if analysis.method == "random" else MatchedNoise
    return OnDemand(components, lambda name: control(components[name], analysis.seed, "edit", name))


def _theta(objective: Objective, setup: CurvatureSetup, methods: Mapping[str, RemovalMethod], rho: float) -> Theta:
    """Theta at a rho; at 1 the objective's own, bit for bit."""
    if rho == UNEDITED:
        return objective.theta
    return theta_with(objective, setup.layers, lambda layer: methods[layer.name].remove(rho).weight)


def _measure_recitation(
    measured: Mapping[str, Objective], points: Points, names: Sequence[str], saved: State
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
            del theta  # before the next one is made
            rows = [(pairs[n].whole, pairs[n].tokens) if n in pairs else (np.nan, np.nan) for n in measured]
            arrays[point] = np.array(rows).T
            yield Progress(done, len(names), f"recitation, {point}", partial(dict, dict(arrays)))
    return arrays


def _sweep_table(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The columns over rho that the method defines: noise and random components have no curvature mass."""
    names = ("rho", "kept_fraction", "weight_energy", "curvature_mass")
    return {name: columns[name] for name in names if not np.isnan(columns[name]).any()}


def _edit(
    objective: Objective, layers: Sequence[LinearMap], methods: Mapping[str, RemovalMethod], rho: float
) -> tuple[Mapping[str, np.ndarray], np.ndarray, np.ndarray]:
    """The new weights by parameter, float64, in the parameters' own shapes; and what each layer keeps at rho.

    The latter are shares of its components and of its weight's energy, `(layers,)` each.
    """
    store, shares = TensorStore.beside(objective), []
    for layer in layers:
        removal = methods[layer.name].remove(rho)
        if rho != UNEDITED:
            store[layer.parameter] = layer.weight(removal.weight).contiguous()
        shares.append((removal.kept / removal.size, removal.energy))
    kept, energy = np.array(shares).T
    return OnDemand(store, lambda name: store[name].cpu().numpy()), kept, energy
