"""The functions that ascents maximize in a ball: the loss, or the norm of its gradient, at theta + c u."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.ascent.ascent import EvaluateRows
from landscape.analyses.neighborhood.perturbation import Perturbation
from landscape.analyses.shared.products import count_gradients
from landscape.compute.budget import is_large
from landscape.compute.inner_products import norm
from landscape.errors import NumericalError
from landscape.evaluation import points
from landscape.evaluation.scaling import WeightScales, weight_scales
from landscape.losses.logit_norm import with_normalized_logits
from landscape.network.space import ParameterGroup
from landscape.objective import Objective
from landscape.operators import HessianOperator


@dataclass(frozen=True)
class BallObjective:
    """A function of u `(P,)` on one part of the data, whose maximum in a ball is searched.

    `base` is its value at u = 0, and `slope()` its slope `(P,)` there; `evaluate` computes `width` points at once.
    `gradients` is the work of one point, in gradients of the part.
    """

    base: float
    slope: Callable[[], Tensor]
    evaluate: EvaluateRows
    width: int
    gradients: float = 1.0


def with_logit_norm(analysis: Perturbation, objective: Objective) -> Objective:
    """The objective whose loss is measured: that of normalized logits with `--logit-norm`, else `objective` itself."""
    loss = with_normalized_logits(objective.loss, analysis.logit_norm)
    return objective if loss is objective.loss else objective.with_loss(loss)


def perturbation_scales(analysis: Perturbation, objective: Objective) -> WeightScales:
    """The scale c of each weight, and notes on the globs that decide it."""
    scaling = analysis.scaling
    return weight_scales(
        objective, scaling.adaptive, eta=scaling.adaptive_eta, unscaled=scaling.unscaled, fixed=scaling.fixed
    )


def layer_groups(analysis: Perturbation, objective: Objective) -> tuple[ParameterGroup, ...]:
    """The modules whose shares in the worst move are computed; none without `--per-layer`."""
    return objective.space.layers() if analysis.per_layer else ()


def require_finite_base(base: float, logit_norm: str) -> None:
    """Raises NumericalError if the measured loss is not finite at the weights themselves."""
    if math.isfinite(base):
        return
    if logit_norm == "none":
        raise NumericalError(f"the loss is {base}", fix="--dtype float64")
    raise NumericalError(
        f"the loss of the normalized logits is {base}",
        why="a sample whose logits are all equal cannot be normalized",
        fix="--logit-norm none, or leave such samples out",
    )


def loss_in_ball(scales: Tensor, starts: int) -> Callable[[Objective], BallObjective]:
    """The loss at theta + c u, evaluated at as many of `starts` + 1 points at once as is worth the memory."""

    def on_part(part: Objective) -> BallObjective:
        value, gradient = part.value_and_gradient()
        slope = _slope(part, scales, gradient)

        def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
            values, gradients = points.values_and_gradients(part, torch.addcmul(part.theta, scales, rows).T)
            return values.cpu().numpy(), gradients.mul_(scales[:, None]).T

        return BallObjective(float(value), slope, evaluate, points.points_per_pass(part, starts + 1))

    return on_part


def _slope(part: Objective, scales: Tensor, gradient: Tensor) -> Callable[[], Tensor]:
    """The scaled gradient at the center, which is computed anew for a large model: it is long, and rarely needed."""
    if is_large(len(scales)):
        return lambda: part.gradient().mul_(scales)
    slope = scales * gradient
    return lambda: slope


def gradient_norm_in_ball(scales: Tensor) -> Callable[[Objective], BallObjective]:
    """||c g|| at theta + c u, where g is the gradient; its slope is C H C v with v the unit vector along c g."""

    def on_part(part: Objective) -> BallObjective:
        def at(theta: Tensor) -> tuple[float, Tensor]:
            steep = scales * part.gradient(theta)
            length = norm(steep)
            if not 0 < length < float("inf"):
                return length, torch.zeros_like(steep)
            return length, scales * (HessianOperator(part, theta) @ (scales * (steep / length)))

        def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
            pairs = [at(part.theta + scales * row) for row in rows]
            return np.array([value for value, _ in pairs]), torch.stack([slope for _, slope in pairs])

        base, slope = at(part.theta)
        work = count_gradients(part, gradients=1, products=1)
        return BallObjective(base, lambda: slope, evaluate, width=1, gradients=work)

    return on_part
