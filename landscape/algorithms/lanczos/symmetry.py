"""Whether an operator is symmetric along one direction: a wrong second derivative mostly is not."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.lanczos.basis import norm
from landscape.errors import NumericalError
from landscape.operators.base import LinearOperator

ASYMMETRY = 0.1  # of the operator's scale: rounding stayed below 0.03, in nets fitted to a loss of 3e-8
TYPICAL = 0.1  # of ||A z|| for a random z, as the scale where A v happens to be small


def asymmetry_error(apart: float, scale: float) -> NumericalError:
    """The error for an operator A with u'Av and v'Au so far apart, where ||A v|| is about `scale`."""
    return NumericalError(
        f"the operator is not symmetric: u'Av and v'Au differ by {apart:.3g}, ||A|| is about {scale:.3g}",
        why="some operation of the model has a wrong second derivative, or the model is not deterministic",
        fix="--dtype float64; if that does not help, look for that operation with --params",
    )


def product_if_symmetric(operator: LinearOperator, vector: Tensor, seed: int) -> Tensor:
    """A v `(P,)`; raises NumericalError if v'A z and z'A v differ for a random z by more than rounding."""
    z = seeds.normal(operator.size, vector, seed, "symmetry")
    image, other = (operator @ one for one in (vector, z))
    apart = abs(_dot(vector, other) - _dot(z, image))
    scale = max(norm(image), TYPICAL * norm(vector) * norm(other))
    if apart > ASYMMETRY * scale:
        raise asymmetry_error(apart, scale)
    return image


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.sum(one.double() * other))
