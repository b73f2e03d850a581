"""The Hessian of the mean loss, by reverse-over-reverse differentiation (Pearlmutter 1994).

Forward-over-reverse needs forward rules that mse_loss, LSTM, huber and attention lack; a second backward pass does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.batches import Batch
from landscape.errors import TaskError
from landscape.objective import Objective
from landscape.operators.base import LinearOperator

NOT_TWICE = (  # what torch says of an operation that can be differentiated only once
    "is not implemented",
    "not differentiable",
    "appears to not have been used",
    "once_differentiable",
)


class HessianOperator(LinearOperator):
    """The Hessian `(P, P)` of an objective's mean loss at `theta` (by default the objective's own)."""

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        self.objective = objective
        self.like = objective.theta if theta is None else theta
        self.size = objective.space.size

    def matmat(self, block: Tensor) -> Tensor:
        product = self.objective.accumulate(lambda batch: self._batch_product(batch, block))
        return product.div_(self.objective.count)

    def _batch_product(self, batch: Batch, block: Tensor) -> Tensor:
        """The product of one batch's summed Hessian: one gradient graph serves all columns."""
        theta = self.like.detach().requires_grad_()
        with torch.enable_grad():  # the caller may stand in no_grad
            total = self.objective.batch_total(theta, batch)
            (gradient,) = torch.autograd.grad(total, theta, create_graph=True)
        if not gradient.requires_grad:  # a loss that is linear in theta
            return torch.zeros_like(block)
        last = block.shape[1] - 1
        product = torch.empty_like(block)
        for index, column in enumerate(block.unbind(dim=1)):
            (product[:, index],) = _second(gradient, theta, column, keep=index < last)
        return product


def _second(gradient: Tensor, theta: Tensor, column: Tensor, *, keep: bool) -> tuple[Tensor, ...]:
    """The second backward pass; raises TaskError that names an operation without a second derivative."""
    try:
        return torch.autograd.grad(gradient, theta, column, retain_graph=keep)
    except RuntimeError as error:
        if not any(words in str(error) for words in NOT_TWICE):
            raise
        raise TaskError(
            f"the model has no second derivative: {str(error).splitlines()[0]}",
            fix="replace that operation, or leave its parameters out with --params; freeze a loss' own parameters",
        ) from error
