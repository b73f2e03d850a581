"""Whether an operator is symmetric along one direction: a wrong second derivative mostly is not."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape import seeds
from landscape.errors import NumericalError
from landscape.operators.base import LinearOperator

ASYMMETRY = 0.1  # of ||A v|| ||z||, spread over the directions: rounding stayed below 0.03 in deep nets


def checked_product(operator: LinearOperator, vector: Tensor, seed: int) -> Tensor:
    """A v `(P,)`; raises NumericalError if v'A z and z'A v differ for a random z by more than rounding."""
    z = seeds.normal(operator.size, vector, seed, "symmetry")
    image, other = (operator @ one for one in (vector, z))
    apart = abs(_dot(vector, other) - _dot(z, image))
    if apart > ASYMMETRY * max(_dot(image, image) ** 0.5, _dot(vector, vector) ** 0.5 * _dot(other, other) ** 0.5 / 10):
        raise NumericalError(
            f"the Hessian is not symmetric: z'Hv and v'Hz differ by {apart:.3g}",
            why="some operation of the model has a wrong or no second derivative",
            fix="--dtype float64; if that does not help, look for that operation with --params",
        )
    return image


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.sum(one.double() * other))
