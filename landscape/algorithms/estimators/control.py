"""A control variate for means of a function under noise: the quadratic form on a Krylov space, whose mean is known.

For an orthonormal Q and T = Q'A Q, the number z'Q T Q'z has the mean tr T under any noise z with E[z z'] = I. The rise
of a loss under noise varies mostly along the leading eigenvectors of its curvature A. The part of the draws along them
is computed, and regression removes its effect on the mean (Owen 2013, Monte Carlo theory, section 8.9).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.algorithms.lanczos import lanczos
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs
from landscape.operators.base import LinearOperator

CONTROL_SPARE_ROWS = 2  # of the basis beyond the products, so that no restart is needed


@dataclass(frozen=True)
class ControlVariate:
    """Q as rows `(k, P)`, and T `(k, k)` in float64."""

    rows: Tensor
    projected: Tensor

    @property
    def trace(self) -> float:
        """tr T."""
        return float(self.projected.trace())

    def deviation(self, noise: Tensor) -> float:
        """z'Q T Q'z - tr T for noise z `(P,)` with E[z z'] = I: a random number of mean 0."""
        inside = (self.rows @ noise).double().cpu()
        return float(inside @ self.projected @ inside) - self.trace


def krylov_space(
    operator: LinearOperator, products: int, seed: int, resume: LanczosState | None = None
) -> Iterator[LanczosState]:
    """The states after each product of a Lanczos run of so many products, or of P products if P is smaller."""
    count = min(products, operator.size)
    wanted = WantedPairs(count, "magnitude", tol=0.0, confirm=0)
    yield from lanczos.lanczos(
        operator, wanted, seed=seed, max_basis=count + CONTROL_SPARE_ROWS, max_products=count, resume=resume
    )


def control_variate(state: LanczosState) -> ControlVariate:
    """The control variate on the space that the run has spanned."""
    return ControlVariate(state.basis[: state.active], torch.from_numpy(state.projected))
