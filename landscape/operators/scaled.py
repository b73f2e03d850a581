"""A matrix seen in coordinates of another scale."""

from __future__ import annotations

from torch import Tensor

from landscape.operators.base import LinearOperator


class ScaledOperator(LinearOperator):
    """C A C for a diagonal C, given as `scale (P,)`: the curvature in u where theta moves by C u."""

    def __init__(self, inner: LinearOperator, scale: Tensor) -> None:
        self.inner = inner
        self.like = inner.like
        self.size = inner.size
        self.scale = scale[:, None]

    def matmat(self, block: Tensor) -> Tensor:
        return self.inner.matmat(block * self.scale).mul_(self.scale)
