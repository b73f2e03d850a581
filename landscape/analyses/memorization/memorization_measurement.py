"""The measurement of `landscape memorization`: factors, bands, activations and scores, phase by phase."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial
from typing import Any

import numpy as np

from landscape.algorithms.matrices.removal import RotatedComponents
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.memorization.activation_ratios import measure_energies, ratio_columns
from landscape.analyses.memorization.bands import UNCHANGED, Bands, FunctionalSpectrum, band_columns
from landscape.analyses.memorization.components import rho_columns, theta_with
from landscape.analyses.memorization.cost import KroneckerWork, estimate_cost, seconds_by_count
from landscape.analyses.memorization.decompositions import Decompositions
from landscape.analyses.memorization.factors import PHASE, measure_factors
from landscape.analyses.memorization.layer_columns import layer_columns
from landscape.analyses.memorization.memorization import FIRST_LOOKS, Memorization
from landscape.analyses.memorization.memorization_result import MemorizationResult
from landscape.analyses.memorization.population_columns import population_columns
from landscape.analyses.memorization.scoring import SampleScores, score_samples
from landscape.analyses.memorization.setup import CurvatureSetup, curvature_setup
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.work_budget import best_within, describe_price
from landscape.choices import DATA
from landscape.evaluation import fisher_labels
from landscape.objective import Objective
from landscape.objective.counted_time import seconds_per_gradient_by_count

RHOS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)  # of the table over rho
SCORE_GRADIENTS = 16  # gradients that take as long as the input curvature and the scores of the edit together


def plan(analysis: Memorization, objective: Objective) -> Plan:
    """The cost of factors, of the losses at every point, and of scores."""
    setup, (controls, per_layer) = curvature_setup(analysis, objective), analysis.sizes
    work = _work(analysis, objective, setup, controls, per_layer=per_layer)
    counted = seconds_by_count(objective, setup, work, seconds_per_gradient_by_count(objective))
    bands = "bands of all layers together" + (" and of each alone" if per_layer else "")
    smallest = analysis.sizes == FIRST_LOOKS[-1]
    price = describe_price(counted, analysis.budget, objective.batches.samples, smallest=smallest)
    facts = {"sizes": f"{controls} draw{'' if controls == 1 else 's'} of both controls, {bands}, {price}"}
    return estimate_cost(objective, setup, work, facts, sweep="bands")


def controls_within_budget(analysis: Memorization, objective: Objective) -> tuple[int, bool]:
    """The controls of the best first look that the budget buys, and whether it has bands by layer, by counting."""
    setup, gradient = curvature_setup(analysis, objective), seconds_per_gradient_by_count(objective)

    def seconds(sizes: tuple[int, bool]) -> float:
        work = _work(analysis, objective, setup, sizes[0], per_layer=sizes[1])
        return seconds_by_count(objective, setup, work, gradient)

    return best_within(FIRST_LOOKS, seconds, analysis.budget)


def _work(
    analysis: Memorization, objective: Objective, setup: CurvatureSetup, controls: int, *, per_layer: bool
) -> KroneckerWork:
    """The points, edits and scores of these sizes."""
    settings, bands = setup.factor_settings, len(Bands(analysis.edges).names)
    joint, alone = bands * (1 + 2 * controls), bands if per_layer else 0
    per_pass = fisher_labels.backward_passes(objective, settings.labels, settings.draws)
    return KroneckerWork(
        points=1 + joint + alone * len(setup.layers),
        edits=joint + alone + (1 if analysis.scores else 0),
        score_gradients=SCORE_GRADIENTS + 1 + per_pass if analysis.scores else 0,
    )


def measure(
    analysis: Memorization, objective: Objective, resume: State | None = None
) -> Generator[Progress, None, MemorizationResult]:
    """Measures the factors first: every other phase needs the components between their eigenvectors."""
    reference, phases, (controls, per_layer) = objective.reference, Phases(resume), analysis.sizes
    setup = curvature_setup(analysis, objective)
    factors = yield from phases.run(PHASE, partial(measure_factors, setup))
    decompositions = Decompositions(objective, setup.layers, factors)
    methods = decompositions.kfac()
    measured = setup.populations or {DATA: objective}
    bands = Bands(analysis.edges)
    spectrum = FunctionalSpectrum(objective, setup.layers, methods, bands, controls, analysis.seed)
    outcomes = yield from phases.run("bands", lambda saved: spectrum.measure(measured, saved, per_layer=per_layer))
    energies = yield from phases.run(
        "activations", partial(measure_energies, setup, objective, decompositions.input_basis)
    )
    scores = SampleScores({})
    if analysis.scores:
        scores = yield from phases.run("scores", partial(_score, analysis, objective, setup, methods))
    names = [layer.name for layer in setup.layers]
    return MemorizationResult(
        **population_columns(setup, measured, outcomes[UNCHANGED]),
        **layer_columns(setup.layers, factors.by_layer, methods),
        **rho_columns(methods, RHOS),
        **_band_sizes(bands, setup),
        **band_columns(outcomes, list(measured), bands, names, controls, analysis.resamples, analysis.seed),
        **ratio_columns(energies, list(measured)),
        **scores.columns,
        loss=reference.loss,
        controls=controls,
        parameters=objective.space.size,
        edited_parameters=sum(layer.size for layer in setup.layers),
        samples=objective.batches.samples,
        factors=factors.arrays,
        notes=(*setup.notes, *factors.notes, *scores.notes),
    )


def _score(
    analysis: Memorization,
    objective: Objective,
    setup: CurvatureSetup,
    methods: Mapping[str, RotatedComponents],
    saved: State,
) -> Generator[Progress, None, SampleScores]:
    """The scores of samples, among them those of an edit at `score_rho`."""
    edited = theta_with(objective, setup.layers, lambda one: methods[one.name].remove(analysis.score_rho).weight)
    scores = yield from score_samples(objective, setup, edited, analysis.trajectory, analysis.seed, saved)
    return SampleScores({**scores.columns, "score_rho": analysis.score_rho}, scores.notes)


def _band_sizes(bands: Bands, setup: CurvatureSetup) -> dict[str, Any]:
    """The names of the bands, and the components in each over all layers."""
    counts = np.array([bands.counts(layer.size) for layer in setup.layers]).sum(axis=0)
    return {"band": np.array(bands.names), "band_components": np.diff(counts)}
