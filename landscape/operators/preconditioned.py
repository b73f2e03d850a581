"""A matrix seen through an optimiser's diagonal preconditioner."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from landscape.errors import NumericalError
from landscape.operators.base import LinearOperator
from landscape.operators.scaled import ScaledOperator
from landscape.operators.summed import SummedOperator


class PreconditionedOperator(ScaledOperator):
    """P^-1/2 A P^-1/2 for a positive diagonal P `(P,)`; for A the Hessian and P Adam's, its largest eigenvalue times
    the step size is what decides about stability (Cohen et al. 2022, section 3).

    Raises NumericalError for a diagonal that is not positive.
    """

    def __init__(self, inner: LinearOperator, diagonal: Tensor) -> None:
        bad = int((~(diagonal > 0) | diagonal.isinf()).sum())
        if bad:
            raise NumericalError(
                f"{bad} of {len(diagonal)} entries of the preconditioner are not positive numbers",
                fix="save sqrt(v_hat) + eps, as the optimiser divides by it",
            )
        super().__init__(inner, diagonal.rsqrt())
        self.diagonal = diagonal

    def around(self, inner: LinearOperator) -> PreconditionedOperator:
        """The same preconditioning of another operator."""
        return PreconditionedOperator(inner, self.diagonal)

    def quadratics(self, block: Tensor, cuts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """As of the inner operator, which must be a sum over samples."""
        assert isinstance(self.inner, SummedOperator)
        return self.inner.quadratics(block * self.scale, cuts)
