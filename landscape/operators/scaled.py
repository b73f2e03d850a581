"""An operator in coordinates of another scale."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from landscape.compute.strategy import Strategy
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator


class ScaledOperator(LinearOperator):
    """C A C for a diagonal C, given as `scale (P,)`: the curvature in u where theta moves by C u."""

    def __init__(self, inner: LinearOperator, scale: Tensor) -> None:
        self.inner = inner
        self.like = inner.like
        self.size = inner.size
        self.scale = scale[:, None]
        inner.measure_errors_in(scale)

    def matmat(self, block: Tensor) -> Tensor:
        """The product `(P, K)`."""
        return self.inner.matmat(block * self.scale).mul_(self.scale)

    @property
    def product_error(self) -> float:
        """The error of A's products, in these coordinates."""
        return self.inner.product_error

    def quadratic_errors(self, block: Tensor) -> Tensor | None:
        """What v'C A C v is uncertain by where products are differences."""
        return self.inner.quadratic_errors(block * self.scale)

    def around(self, inner: LinearOperator) -> LinearOperator:
        """The same scaling of another operator."""
        return ScaledOperator(inner, self.scale[:, 0])

    def block_diagonal(self, groups: Sequence[ParameterGroup]) -> LinearOperator:
        """The scaled blocks of A: a diagonal scaling does not mix blocks."""
        return self.around(self.inner.block_diagonal(groups))

    @property
    def additive(self) -> bool:
        """Whether A is a sum over samples."""
        return self.inner.additive

    def quadratics(self, block: Tensor, cuts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """v'C S C v for each column v and each group's own sum S; A must be a sum over samples."""
        return self.inner.quadratics(block * self.scale, cuts)

    def on_samples(self, first: int, end: int) -> LinearOperator:
        """The same scaling of A on these samples alone; A must be a sum over samples."""
        return self.around(self.inner.on_samples(first, end))

    def strategy(self, columns: int) -> Strategy | None:
        """The strategy of A's products."""
        return self.inner.strategy(columns)

    def strategy_bytes(self, columns: int, strategy: Strategy) -> int:
        """The peak memory of A's products, without the scaled copy of the block."""
        return self.inner.strategy_bytes(columns, strategy)
