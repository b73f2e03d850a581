"""Measures what `measures` holds: gradients of samples and of terms, relative flatness, PAC-Bayes sigmas."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.measures import MeasuresResult
from landscape.analyses.measures_gradients import SAMPLES_COST, gradient_measures
from landscape.analyses.measures_pac_bayes import BISECTIONS, count_losses, pac_bayes_sigmas
from landscape.analyses.measures_populations import add_measures_by_population
from landscape.analyses.measures_relative_flatness import (
    USUAL_PRODUCTS,
    FlatnessEstimate,
    estimate_relative_flatness,
    flatness_matrix,
)
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.populations import find_parts
from landscape.analyses.shared.products import count_gradients
from landscape.evaluation.per_sample.outcomes import has_separate_losses
from landscape.evaluation.terms import measure_terms, term_names
from landscape.objective.micro_batch import seconds_per_gradient

if TYPE_CHECKING:
    from landscape.analyses.measures import Measures
    from landscape.objective import Objective

PRODUCT_COST = 2.5  # of a Hessian-vector product, in gradients
LOSS_COST = 0.4  # of a loss, in gradients
NO_SAMPLES = "the objective has no loss for each sample: noise and Fisher-Rao norm are left out"


def measure(
    analysis: Measures, objective: Objective, resume: State | None
) -> Generator[Progress, None, MeasuresResult]:
    """Yields after the gradients, then after each product, then after each bisection step of the sigmas.

    Returns the measures that exist for this loss; the others are None.
    """
    find_parts(analysis, objective)
    reference, group = objective.reference, flatness_matrix(analysis, objective)
    phases = Phases(resume)
    separate = has_separate_losses(objective)
    noise_trace, fisher_rao = math.nan, math.nan
    if separate:
        noise_trace, fisher_rao = yield from phases.run("gradients", partial(_gradient_measures, objective))
    terms: dict[str, Any] = {}
    if term_names(objective):
        terms = yield from phases.run("terms", partial(_measure_terms, objective))
    flatness = FlatnessEstimate()
    if group is not None:
        steps = partial(estimate_relative_flatness, analysis, objective, group)
        flatness = yield from phases.run("flatness", steps)
    sigmas: dict[str, float] = {}
    if analysis.draws:
        sigmas = yield from phases.run("sigma", partial(pac_bayes_sigmas, analysis, objective))
    has_noise = not math.isnan(noise_trace)
    has_classes = bool(sigmas) and not math.isnan(sigmas["error"])
    result = MeasuresResult(
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        noise_trace=noise_trace if has_noise else None,
        noise_scale=noise_trace / reference.gradient_norm**2 if has_noise and reference.gradient_norm else None,
        fisher_rao=fisher_rao if separate else None,
        **terms,
        relative_flatness=flatness.value,
        relative_flatness_se=flatness.error,
        half_width=flatness.half_width,
        rtol=None if flatness.value is None else analysis.rtol,
        error=_none_if_nan(sigmas, "error"),
        pac_bayes_sigma=_none_if_nan(sigmas, "plain"),
        pac_bayes_magnitude_sigma=_none_if_nan(sigmas, "magnitude"),
        deviation=analysis.deviation if has_classes else None,
        draws=analysis.draws if has_classes else None,
        products=flatness.products,
        cost_gradients=_cost(analysis, objective, flatness, sigmas),
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=flatness.notes if separate else (*flatness.notes, NO_SAMPLES),
    )
    return (
        result if analysis.by is None else (yield from add_measures_by_population(analysis, objective, result, phases))
    )


def _cost(analysis: Measures, objective: Objective, flatness: FlatnessEstimate, sigmas: Mapping[str, float]) -> float:
    """The work in gradients: of samples and terms, of the relative flatness, and of the sigmas."""
    of_samples = SAMPLES_COST if has_separate_losses(objective) else 0.0
    return count_gradients(
        objective,
        products=flatness.products + flatness.symmetry_products,
        gradients=of_samples + len(term_names(objective)),
        losses=count_losses(analysis.draws, sigmas),
    )


def plan(analysis: Measures, objective: Objective) -> Plan:
    """Bytes of a few vectors, and the seconds of all gradients, products and losses."""
    seconds = seconds_per_gradient(objective)
    losses = 2 * BISECTIONS * analysis.draws
    work = {
        "gradients": SAMPLES_COST,
        "flatness": PRODUCT_COST * USUAL_PRODUCTS,
        "sigma": LOSS_COST * losses,
    }
    return Plan(
        bytes=8 * objective.theta.nbytes,
        products=USUAL_PRODUCTS,
        seconds=seconds * sum(work.values()),
        facts={"losses": f"{losses:,}", "gradient": f"{seconds:.3g} s"},
        phases={phase: seconds * gradients for phase, gradients in work.items()},
    )


def _gradient_measures(objective: Objective, saved: State) -> Generator[Progress, None, tuple[float, float]]:
    """The trace of the covariance of the samples' gradients, NaN for one sample, and the Fisher-Rao norm."""
    pair = np.array(saved["pair"] if saved else gradient_measures(objective, objective.reference.gradient_norm))
    if not saved:
        yield Progress(1, 1, "the samples' gradients", lambda: {"pair": pair})
    return float(pair[0]), float(pair[1])


def _measure_terms(objective: Objective, saved: State) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """The mean losses, gradient norms and shares of the terms, and the cosines between their gradients."""
    names = term_names(objective)
    arrays = {name: np.array(value) for name, value in saved.items()} or measure_terms(objective, names)
    if not saved:
        yield Progress(1, 1, "the terms' gradients", lambda: arrays)
    return {"term": np.array(names), "other": np.array(names), **arrays}


def _none_if_nan(numbers: dict[str, float], name: str) -> float | None:
    """The number of that name; None where it is NaN or absent."""
    value = numbers.get(name, math.nan)
    return None if math.isnan(value) else value
