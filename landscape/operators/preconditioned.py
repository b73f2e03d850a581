"""An operator as an optimizer's diagonal preconditioner transforms it."""

from __future__ import annotations

from torch import Tensor

from landscape.errors import NumericalError
from landscape.operators.base import LinearOperator
from landscape.operators.scaled import ScaledOperator


class PreconditionedOperator(ScaledOperator):
    """P^-1/2 A P^-1/2 for an operator A and a positive diagonal P `(P,)`.

    For A the Hessian and P Adam's preconditioner, its largest eigenvalue times the step size decides about stability
    (Cohen et al. 2022, section 3). Raises NumericalError for a diagonal that is not positive.
    """

    def __init__(self, inner: LinearOperator, diagonal: Tensor) -> None:
        bad = int((~(diagonal > 0) | diagonal.isinf()).sum())
        if bad:
            raise NumericalError(
                f"{bad} of {len(diagonal)} entries of the preconditioner are not positive numbers",
                fix="save sqrt(v_hat) + eps, as the optimizer divides by it",
            )
        super().__init__(inner, diagonal.rsqrt())
        self.diagonal = diagonal

    def around(self, inner: LinearOperator) -> PreconditionedOperator:
        """The same preconditioning of another operator."""
        return PreconditionedOperator(inner, self.diagonal)
