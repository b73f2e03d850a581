"""The learning coefficient of a stranger, by importance sampling from the Gaussian around its checkpoint."""

from __future__ import annotations

import math

import torch

from landscape.seeds import normal
from strangers.answers import Answer

DRAWS = 64  # in pairs on two sides of the mean


def localization(answer: Answer, nbeta: float) -> float:
    """A precision with which the posterior of inverse temperature `nbeta` is a narrow hill around the checkpoint.

    Its mean is then closer than its width, and the curvature counts less than the precision.
    """
    slope, bend = float(answer.gradient.norm()), max(float(answer.eigenvalues.abs().max()), 1e-3)
    return max(4 * nbeta * bend, (2 * nbeta * slope) ** 2, 1.0)


def learning_coefficient(answer: Answer, nbeta: float, gamma: float) -> tuple[float, float]:
    """n beta E[L - L(theta)] under exp(-n beta L - gamma |x|^2 / 2), and its standard error.

    Importance sampling with the Gaussian of the quadratic model; what that model says of L is taken exactly.
    """
    values, vectors = torch.linalg.eigh(answer.hessian)
    precision, slopes = nbeta * values + gamma, vectors.T @ answer.gradient
    center = -nbeta * slopes / precision
    model = nbeta * float((slopes * center + values * (center**2 + 1 / precision) / 2).sum())
    quadratics, rests = [], []
    for draw in range(DRAWS):
        side = normal(len(values), answer.theta, 13, "posterior", draw // 2) * (-1) ** draw
        move = vectors @ (center + side / precision.sqrt())
        quadratics.append(nbeta * float(answer.gradient @ move + move @ answer.hessian @ move / 2))
        rests.append(nbeta * (answer.value(answer.theta + move) - answer.at_theta) - quadratics[-1])
    quadratic, rest = torch.tensor([quadratics, rests], dtype=torch.float64)
    weights = torch.softmax(-rest, dim=0)
    mean = float(weights @ (quadratic + rest))
    errors = DRAWS * weights * (quadratic + rest - mean) - (quadratic - model)
    spread = float(errors.view(-1, 2).mean(1).std()) / math.sqrt(DRAWS / 2)
    return mean + model - float(quadratic.mean()), spread
