"""The measurement of sharpness: ascents in balls for the worst case, random noise for the average case."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.neighborhood.average_case import (
    NOISE_VARIANCE,
    NoiseRises,
    NoiseSampling,
    follow_rises,
    sample_rises,
)
from landscape.analyses.neighborhood.ball_maxima import BallMaxima, ascent_columns, random_start_note
from landscape.analyses.neighborhood.ball_objective import (
    layer_groups,
    loss_in_ball,
    perturbation_scales,
    require_finite_base,
    with_logit_norm,
)
from landscape.analyses.neighborhood.presets import ANDRIUSHCHENKO_SAMPLES, SharpnessProtocol
from landscape.analyses.neighborhood.search_state import BallSearch, curve_order
from landscape.analyses.neighborhood.sharpness import Sharpness
from landscape.analyses.neighborhood.sharpness_cost import plan_search
from landscape.analyses.neighborhood.sharpness_curve import FollowedCurve, curve_columns
from landscape.analyses.neighborhood.sharpness_populations import WholeSearch, add_sharpness_by_population
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
from landscape.analyses.neighborhood.worst_case import maximize_in_balls
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.populations import find_parts
from landscape.analyses.shared.products import count_gradients
from landscape.analyses.shared.rounding import ROUNDING_DRAWS, smallest_clear_rise
from landscape.objective import Objective


def measure(
    analysis: Sharpness, objective: Objective, resume: State | None = None
) -> Generator[Progress, None, SharpnessResult]:
    """Measures both cases as the protocol of the analysis asks; yields after each product and each round of ascents."""
    find_parts(analysis, objective)
    protocol, reference, samples = analysis.protocol, objective.reference, objective.batches.samples
    subject, groups = with_logit_norm(analysis, objective), layer_groups(analysis, objective)
    scaling = perturbation_scales(analysis, objective)
    scales = scaling.values
    base = reference.loss if subject is objective else float(subject.value())
    require_finite_base(base, analysis.logit_norm)
    rounding = smallest_clear_rise(objective, lambda theta: float(subject.value(theta)), base, analysis.seed)
    phases = Phases(resume)
    worst = whole = followed = None
    average: NoiseRises | None = None
    search, sampling = None, None
    if protocol.starts:
        search = BallSearch(
            protocol.norm, protocol.rho, protocol.starts, protocol.steps, protocol.m, analysis.seed, analysis.curve
        )
        function_on = loss_in_ball(scales, protocol.starts)
        whole = yield from phases.run("worst", partial(maximize_in_balls, subject, scales, function_on, search, groups))
        own = len(search.radii)
        worst, followed = whole.at(slice(own), search.own_columns), whole.at(slice(own, None))
    curve = FollowedCurve(curve_order(analysis.curve, protocol.rho[-1]), followed)
    if protocol.draws:
        sampling = NoiseSampling(
            protocol.average_rho, protocol.noise, protocol.draws, analysis.rtol, analysis.max_draws, analysis.seed
        )
        average = yield from phases.run("average", partial(sample_rises, subject, scales, base, sampling))
        if analysis.curve:
            following = partial(follow_rises, subject, scales, base, sampling, curve.radii, average)
            curve = replace(curve, average=(yield from phases.run("curve", following)))
    result = SharpnessResult(
        rho=np.array(protocol.rho),
        **(_worst_columns(analysis, worst, base) if worst else {}),
        **(_average_columns(analysis, average, base) if average else {}),
        **(ascent_columns(worst, groups) if worst else {}),
        **(curve_columns(protocol, curve, worst, average) if analysis.curve else {}),
        **_resolution(protocol, worst, average, rounding),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        normalised_loss=None if subject is objective else base,
        **_work(objective, subject, whole, average, curve.average),
        steps=protocol.steps if worst else None,
        m=min(protocol.m or samples, samples),
        parameters=objective.space.size,
        samples=samples,
        rtol=analysis.rtol,
        notes=(*scaling.notes, *batch_notes(analysis, samples), *_second_derivative_notes(protocol, worst, average)),
    )
    if analysis.by is None:
        return result
    return (
        yield from add_sharpness_by_population(
            analysis, objective, result, WholeSearch(scales, search, sampling, average), phases
        )
    )


def _work(
    objective: Objective,
    subject: Objective,
    worst: BallMaxima | None,
    average: NoiseRises | None,
    followed: NoiseRises | None,
) -> dict[str, Any]:
    """The gradients and draws, and the work of both with the control variate and the rounding of the loss."""
    losses = sum(rises.losses for rises in (average, followed) if rises) + (subject is not objective)
    return {
        "gradients": (worst.evaluations + len(worst.weights)) if worst else 0,
        "draws": len(average.rises) if average else 0,
        "cost_gradients": count_gradients(
            subject,
            gradients=worst.gradients if worst else 0.0,
            products=average.products if average else 0,
            losses=losses + ROUNDING_DRAWS,
        ),
    }


def plan(analysis: Sharpness, objective: Objective) -> Plan:
    """The expected cost, from the time of one gradient."""
    return plan_search(analysis, objective)


def batch_notes(analysis: Sharpness, samples: int) -> tuple[str, ...]:
    """Notes on batches that are not all of the size `m`, and on samples that the preset does not ask for."""
    m, notes = analysis.protocol.m, []
    if analysis.preset == "andriushchenko" and samples != ANDRIUSHCHENKO_SAMPLES:
        fix = f": --limit {ANDRIUSHCHENKO_SAMPLES}" if samples > ANDRIUSHCHENKO_SAMPLES else ""
        notes.append(f"that protocol takes {ANDRIUSHCHENKO_SAMPLES:,} samples, not {samples:,}{fix}")
    if m is not None and (m > samples or samples % m):
        rest = f"the last batch has {samples % m}" if m < samples else f"there are {samples:,}"
        notes.append(f"batches of {m:,} samples: {rest}")
    return tuple(notes)


def _second_derivative_notes(
    protocol: SharpnessProtocol, worst: BallMaxima | None, average: NoiseRises | None
) -> tuple[str, ...]:
    starts = random_start_note(worst, protocol.starts) if worst else ()
    if average is None or not average.control_error:
        return starts
    return (*starts, f"s_avg has no control variate and no small-rho law: {average.control_error}")


def _worst_columns(analysis: Sharpness, worst: BallMaxima, base: float) -> dict[str, Any]:
    """The columns of the worst case. Its law is rho ||c g||*, plus rho^2 max(lambda, 0) / 2 in an l2 ball."""
    protocol = analysis.protocol
    radii, highest = np.array(protocol.rho), worst.mean(worst.largest())
    curvature, dual = float(worst.mean(worst.curvatures)), float(worst.mean(worst.duals))
    curved = 0.0 if protocol.norm == "linf" or np.isnan(curvature) else curvature
    return {
        "s_max": highest,
        "s_max_law": radii * dual + radii**2 * max(curved, 0.0) / 2,
        "scaled_gradient": dual,
        "scaled_curvature": None if np.isnan(curvature) else curvature,
        "keskar": 100 * highest / (1 + base) if analysis.preset == "keskar" else None,
    }


def _average_columns(analysis: Sharpness, average: NoiseRises, base: float) -> dict[str, Any]:
    """s_avg with its interval, and its small-rho law: half the trace of C H C times the variance of the noise."""
    protocol, mean = analysis.protocol, average.mean()
    has_trace = not np.isnan(average.trace).any()
    law = np.array(protocol.average_rho) ** 2 * NOISE_VARIANCE[protocol.noise] * float(average.trace[0]) / 2
    return {
        "average_rho": np.array(protocol.average_rho),
        "s_avg": mean.value,
        "s_avg_se": mean.standard_error,
        "s_avg_interval": np.stack([mean.value - mean.half_width, mean.value + mean.half_width], axis=1),
        "s_avg_draws": mean.draws,
        "s_avg_law": law if has_trace else None,
        "scaled_trace": float(average.trace[0]) if has_trace else None,
        "scaled_trace_se": float(average.trace[1]) if has_trace else None,
        "low_pass": base + mean.value if analysis.preset == "low-pass" else None,
    }


def _resolution(
    protocol: SharpnessProtocol, worst: BallMaxima | None, average: NoiseRises | None, rounding: float
) -> dict[str, Any]:
    """Which rises stand clear of rounding, and the radii from which they would by the small-rho laws."""
    clear = np.ones(len(protocol.rho), bool)
    smallest: dict[str, Any] = {}
    if worst:
        clear &= ~(worst.mean(worst.largest()) < rounding)
        slope = float(worst.mean(worst.duals))
        curvature = max(float(np.nan_to_num(worst.mean(worst.curvatures))), 0.0)
        curvature = 0.0 if protocol.norm == "linf" else curvature
        root = slope + (slope**2 + 2 * curvature * rounding) ** 0.5  # of slope rho + curvature rho^2 / 2 = rounding
        smallest["smallest_rho"] = 2 * rounding / root if root > 0 else None
    if average:
        clear &= ~(np.abs(average.mean().value) < rounding)
        half = NOISE_VARIANCE[protocol.noise] * abs(float(np.nan_to_num(average.trace[0]))) / 2
        smallest["smallest_average_rho"] = (rounding / half) ** 0.5 if half > 0 else None
    return {"resolved": clear, "rounding": rounding, **smallest}
