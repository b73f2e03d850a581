"""The Hessian without a part of the Gauss-Newton matrix: where its trace is known, the rest is what is left of it."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from landscape.network.space import ParameterSpace
from landscape.operators.base import LinearOperator
from landscape.operators.gauss_newton import GaussNewtonOperator


class RestOperator(LinearOperator):
    """H - D G D `(P, P)`, with D the projection onto the parameters called `names`.

    A product takes one with H and one with G. The trace of D G D is that of G's blocks of these parameters.
    """

    def __init__(
        self,
        hessian: LinearOperator,
        gauss_newton: GaussNewtonOperator,
        space: ParameterSpace,
        names: Collection[str],
    ) -> None:
        self.hessian, self.gauss_newton = hessian, gauss_newton
        self.size, self.like = hessian.size, hessian.like
        inside = [torch.full((block.size,), float(block.name in names)) for block in space.blocks]
        self._inside = None if set(names) >= set(space.names) else torch.cat(inside).to(self.like)[:, None]

    def matmat(self, block: Tensor) -> Tensor:
        """The product with a block of columns, `(P, K) -> (P, K)`, in two passes over the data."""
        return self.hessian.matmat(block).sub_(self.product_of_part(block))

    def product_of_part(self, block: Tensor) -> Tensor:
        """D G D times a block of columns, `(P, K)`."""
        if self._inside is None:
            return self.gauss_newton.matmat(block)
        return self.gauss_newton.matmat(block * self._inside).mul_(self._inside)

    def release(self) -> None:
        """Frees the graphs of G, so that others have their memory."""
        self.gauss_newton.release()
