"""Numbers of a result beside the stranger's own answer, with the largest difference that each may have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.seeds import normal
from strangers.answers import Answer
from strangers.posterior import learning_coefficient
from strangers.samples import first_share, sample_gradients

RHO = 0.02
BITS = 4  # to which weights are rounded
NBETA = 10.0  # inverse temperature of the posterior of the learning coefficient
ASCENT = 0.05  # between the maxima that two kinds of ascents find in a ball


class AnswerMissing(Exception):
    """A stranger without a dense answer gave a number that claims to be right."""


Comparison = Iterator[tuple[str, float, float, float]]  # name, measured, exact, largest difference allowed


def _common(answer: Answer, result: Any, rounding: float) -> Comparison:
    if answer.stranger.expect == "refused":
        raise AnswerMissing("no number is right here, and one was given without a word")
    yield "loss", result.reference_loss(), answer.at_theta, rounding * max(abs(answer.at_theta), 1e-3)
    size = float(answer.gradient.norm())
    yield "gradient norm", result.gradient_norm, size, rounding * max(size, float(answer.theta.norm()) * 1e-3)


def _eig(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    exact, scale = answer.eigenvalues.flip(0), float(answer.eigenvalues.abs().max())
    for rank, (value, bound) in enumerate(zip(result.eigenvalues, result.error_bounds, strict=True)):
        yield f"eigenvalue {rank}", float(value), float(exact[rank]), float(bound) + rounding * scale


def _trace(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    mass = float(answer.eigenvalues.abs().sum())
    exact = float(answer.eigenvalues.sum())
    yield "trace", result.trace, exact, 4 * result.standard_error + rounding * mass


def _diagonal(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    exact = answer.hessian.diagonal()
    mass, size = float(answer.eigenvalues.abs().sum()), float(exact.norm())
    yield "trace", result.trace, float(exact.sum()), 6 * result.trace_se + rounding * mass
    distance = float((torch.from_numpy(result.diagonal) - exact).norm())
    stated = float(np.linalg.norm(result.standard_errors))
    yield "entries", distance, 0.0, 3 * stated + rounding * max(size, float(answer.eigenvalues.abs().max()))


def _density(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    values = answer.eigenvalues
    mass, scale = float(values.abs().sum()), float(values.abs().max())
    yield "trace", result.trace, float(values.sum()), 6 * result.trace_se + rounding * mass
    yield "lambda max", result.lambda_max, float(values[-1]), 2 * result.lambda_max_se + 2 * rounding * scale
    yield "lambda min", result.lambda_min, float(values[0]), 2 * result.lambda_min_se + 2 * rounding * scale


def _sharpness(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    best = answer.rise_in_ball(RHO)
    yield "s_max", float(result.s_max[0]), best, ASCENT * best + float(result.rounding)
    exact, error = _mean_rise(answer)
    measured, stated = float(result.s_avg[0]), float(result.s_avg_se[0])
    yield "s_avg", measured, exact, 6 * math.hypot(error, stated) + 0.02 * abs(exact) + float(result.rounding)


def _mean_rise(answer: Answer) -> tuple[float, float]:
    """The mean rise under noise with its standard error: the quadratic part is exact, the rest a mean over draws."""
    size, trace = len(answer.theta), float(answer.eigenvalues.sum())
    rest = []
    for draw in range(24):
        z = RHO * normal(size, answer.theta, 11, "zoo", draw)
        pair = [answer.value(answer.theta + sign * z) - answer.at_theta for sign in (1, -1)]
        rest.append(np.mean(pair) - float(z @ (answer.hessian @ z)) / 2)
    return RHO**2 * trace / 2 + float(np.mean(rest)), float(np.std(rest) / math.sqrt(len(rest)))


def _flatness(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    top, scale = float(answer.eigenvalues[-1]), float(answer.eigenvalues.abs().max())
    yield "lambda 1", result.lambda_1, top, 2 * result.lambda_1_residual + 0.05 * scale
    best = answer.rise_in_ball(RHO)
    yield "r0", float(result.r0[0]), best, ASCENT * best + rounding * max(abs(answer.at_theta), 1e-3)
    steepest = RHO * answer.gradient_in_ball(RHO)
    found = float(result.r1[0])  # it may be a higher one of several maxima
    yield "r1", min(found, steepest), steepest, ASCENT * steepest + RHO * result.rounding
    yield "r1 of several maxima", max(found, steepest), steepest, 2 * steepest


def _surface(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    axis = answer.gradient / answer.gradient.norm()
    for alpha, loss in zip(result.alpha, result.loss, strict=True):
        exact = answer.value(answer.theta + float(alpha) * float(result.norm_alpha) * axis)
        yield f"loss at {alpha:g}", float(loss), exact, 2 * rounding * max(abs(exact), abs(answer.at_theta), 1e-3)
    if result.hessian_alpha is not None:
        bend, scale = float(axis @ answer.hessian @ axis), float(answer.eigenvalues.abs().max())
        yield "d'Hd", result.hessian_alpha, bend, 2 * rounding * scale


def _critical(answer: Answer, result: Any, rounding: float) -> Comparison:
    if "critical" not in answer.stranger.cannot:
        yield from _common(answer, result, rounding)
    for step, change in zip(result.point_step, result.point_change, strict=True):
        exact = answer.value(answer.theta - float(step) * answer.gradient) - answer.at_theta
        allowed = result.rounding + rounding * max(abs(exact), abs(answer.at_theta), 1e-3)
        yield f"change at {step:.3g}", float(change), exact, allowed


def _direction(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    axis = -answer.gradient / answer.gradient.norm()
    scale = float(answer.eigenvalues.abs().max())
    yield "curvature", result.curvature, float(axis @ answer.hessian @ axis), 2 * rounding * scale
    yield "slope", result.slope, -float(answer.gradient.norm()), rounding * float(answer.gradient.norm())
    exact = answer.value(answer.theta - 0.1 * answer.gradient) - answer.at_theta
    yield "change", result.change, exact, 2 * rounding * max(abs(answer.at_theta), 1e-3)


def _measures(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    if result.fisher_rao is None:  # an objective without a loss for each sample
        return
    if not answer.stranger.alone:
        raise AnswerMissing("samples have no gradients of their own, and measures of them were given")
    rows = sample_gradients(answer)
    exact = math.sqrt(float(((rows @ answer.theta) ** 2).mean()))
    yield "fisher rao", result.fisher_rao, exact, 2 * rounding * max(exact, 1e-3)
    if result.noise_trace is not None:
        scatter = float(((rows - rows.mean(0)) ** 2).sum() / (len(rows) - 1))
        yield "noise trace", result.noise_trace, scatter, 2 * rounding * float((rows**2).sum(1).mean())


def _memorization(answer: Answer, result: Any, rounding: float) -> Comparison:
    if answer.stranger.expect == "refused" and "memorization" not in answer.stranger.cannot:
        raise AnswerMissing("no number is right here, and one was given without a word")
    yield "loss", result.loss, answer.at_theta, rounding * max(abs(answer.at_theta), 1e-3)
    if result.sample_loss is not None and answer.stranger.alone:
        total = float(np.nanmean(result.sample_loss))
        if not np.isnan(result.sample_loss).any():
            yield "mean of samples", total, answer.at_theta, math.inf if _weighted(answer) else rounding * abs(total)
    if not answer.stranger.alone:
        raise AnswerMissing("samples have no losses of their own, and scores of them were given")


def _weighted(answer: Answer) -> bool:
    """Whether samples count differently, so that their mean is not the loss; units may."""
    if answer.stranger.units:
        return True
    counts = {answer.terms(answer.output(i), t)[1] / len(t) for i, t in answer.batches if isinstance(t, Tensor)}
    return len(counts) != 1


def _sensitivity(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    move = answer.rounded(BITS) - answer.theta
    exact = answer.value(answer.theta + move) - answer.at_theta
    size = rounding * max(abs(answer.at_theta), abs(exact), 1e-3)
    yield "change by rounding", float(result.kind_real[0]), exact, 2 * size
    slope, bend = float(answer.gradient @ move), float(move @ answer.hessian @ move)
    scale = abs(slope) + float(answer.eigenvalues.abs().max() * move @ move)
    yield "forecast", float(result.kind_forecast[0]), slope + bend / 2, 2 * rounding * scale + size


def _influence(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    if not answer.stranger.alone:
        raise AnswerMissing("samples have no gradients of their own, and influences of them were given")
    if any("few digits of the gradient" in note for note in result.notes):
        return
    rows = sample_gradients(answer, decayed=False)
    query = rows[0] / first_share(answer)
    exact = rows @ answer.regularized_solve(query) / len(rows)
    scale = float(rows.norm(dim=1).max()) ** 2 / len(rows)
    stated = float(np.abs(result.score_errors).max())
    distance = float((torch.from_numpy(result.scores[:, 0]) - exact).abs().max())
    yield "scores", distance, 0.0, 6 * stated + rounding * scale / answer.damping


def _llc(answer: Answer, result: Any, rounding: float) -> Comparison:
    yield from _common(answer, result, rounding)
    exact, error = learning_coefficient(answer, result.nbeta, result.gamma)
    allowed = 4 * math.hypot(error, result.llc_se) + result.rounding + rounding * abs(exact)
    yield "coefficient", result.llc, exact, allowed


COMPARISONS: dict[str, Callable[[Answer, Any, float], Comparison]] = {
    "eig": _eig,
    "density": _density,
    "trace": _trace,
    "diagonal": _diagonal,
    "sharpness": _sharpness,
    "flatness": _flatness,
    "surface": _surface,
    "measures": _measures,
    "direction": _direction,
    "memorization": _memorization,
    "critical": _critical,
    "sensitivity": _sensitivity,
    "influence": _influence,
    "llc": _llc,
}
