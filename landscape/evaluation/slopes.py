"""Slopes of the mean loss along a direction, and curvatures from their differences, without a gradient in memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from landscape.compute.inner_products import dot, norm
from landscape.data.batches import Batch
from landscape.objective import Objective

# Length of the step relative to the weights: rounding of float32 slopes and the change of curvature are then about as
# large as each other on transformers and convolutional nets.
STEP = 1e-2


class DirectionalCurvature(NamedTuple):
    """d'Hd from differences of slopes, and by how much it changes with half the step."""

    value: float
    error: float


def slope_along(objective: Objective, theta: Tensor, direction: Tensor) -> float:
    """The derivative of the mean loss at theta `(P,)` along a direction `(P,)`; each tensor's gradient is freed."""
    parts = objective.space.unflatten(direction)

    def kernel(batch: Batch) -> Tensor:
        """The derivative of one batch's summed loss, shape (), float64."""
        slopes: list[float] = []

        def visit(name: str, gradient: Tensor) -> None:
            """Adds the part of one tensor."""
            slopes.append(dot(gradient.reshape(-1), parts[name].reshape(-1)))

        if objective.function.resident is None:
            objective.visit_gradient(theta, batch, visit)
        else:
            slopes.append(dot(objective.batch_gradient(theta, batch)[1], direction))
        return torch.tensor(sum(slopes), dtype=torch.float64, device=theta.device)

    return float(objective.accumulate(kernel)) / objective.count


def curvature_along(objective: Objective, direction: Tensor, point: Tensor) -> DirectionalCurvature:
    """d'Hd for a direction `(P,)`, from the slopes at two distances on both sides; `point` `(P,)` is overwritten.

    The error of a central difference falls with the square of the step, so that the two differences extrapolate it away
    (Richardson); how far they are apart is the error, which rounding is part of.
    """
    length = norm(direction)
    if not length:
        return DirectionalCurvature(0.0, 0.0)
    step = STEP * (norm(objective.theta) or 1.0) / length
    coarse, fine = (_difference(objective, direction, point, size) for size in (step, step / 2))
    return DirectionalCurvature(fine + (fine - coarse) / 3, abs(fine - coarse))


def _difference(objective: Objective, direction: Tensor, point: Tensor, step: float) -> float:
    """The central difference of the slopes at one distance."""
    slopes = []
    for sign in (1.0, -1.0):
        torch.add(objective.theta, direction, alpha=sign * step, out=point)
        slopes.append(slope_along(objective, point, direction))
    return (slopes[0] - slopes[1]) / (2 * step)
