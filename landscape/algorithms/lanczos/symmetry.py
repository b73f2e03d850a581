"""A test of symmetry along one direction: operators with a wrong second derivative are mostly not symmetric."""

from __future__ import annotations

import math

from torch import Tensor

from landscape import seeds
from landscape.algorithms.lanczos.basis import require_finite
from landscape.compute.inner_products import dot, norm
from landscape.errors import NumericalError
from landscape.operators.base import LinearOperator

# Largest difference of u'Av and v'Au, relative to the operator's scale: rounding stayed below 0.03 in nets fitted to a
# loss of 3e-8.
MAX_ASYMMETRY = 0.1
SYMMETRY_PRODUCTS = 2  # that the test takes: A v, and A z
RANDOM_SCALE = 0.1  # this part of ||A z|| for a random z is the scale if ||A v|| is smaller


def asymmetry_error(apart: float, scale: float, product_error: float = 0.0) -> NumericalError:
    """The error for an operator A whose u'Av and v'Au differ by `apart`, where ||A v|| is about `scale`.

    `product_error` is that of products by differences; 0 for others.
    """
    if not math.isfinite(apart):
        return NumericalError(
            f"the products are not finite: u'Av and v'Au differ by {apart}",
            fix="--dtype float64, or look for the samples and parameters with --limit and --params",
        )
    if product_error:
        return NumericalError(
            f"differences of gradients are too rough: u'Av and v'Au differ by {apart:.3g}, ||A|| is about {scale:.3g}",
            why=f"their measured error is {product_error:.3g} for a unit vector: kinks or rounding",
            fix="--dtype float64, or --hvp auto where the model has second derivatives",
        )
    return NumericalError(
        f"the operator is not symmetric: u'Av and v'Au differ by {apart:.3g}, ||A|| is about {scale:.3g}",
        why="some operation of the model has a wrong second derivative, or the model is not deterministic",
        fix="--dtype float64, or --hvp difference; if that does not help, look for that operation with --params",
    )


def product_if_symmetric(operator: LinearOperator, vector: Tensor, seed: int) -> Tensor:
    """A v `(P,)`; raises NumericalError if v'A z and z'A v differ by more than rounding for a random z.

    It also raises NumericalError if one of the products is not finite.
    """
    z = seeds.normal_vector(operator.size, vector, seed, "symmetry")
    image, other = operator @ vector, operator @ z
    apart = abs(dot(vector, other) - dot(z, image))
    scale = max(require_finite(norm(image)), RANDOM_SCALE * norm(vector) * require_finite(norm(other)))
    if not apart <= MAX_ASYMMETRY * scale:  # also NaN
        raise asymmetry_error(apart, scale, operator.product_error)
    return image
