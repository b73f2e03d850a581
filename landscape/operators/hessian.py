"""The Hessian of the mean loss, by reverse-over-reverse differentiation (Pearlmutter 1994).

Forward-over-reverse needs forward rules that mse_loss, LSTM, huber and attention lack; a second backward pass does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.batches import Batch
from landscape.operators.pullback import pulled_back
from landscape.operators.summed import SummedOperator


class HessianOperator(SummedOperator):
    """The Hessian `(P, P)` of an objective's mean loss."""

    def batch_product(self, batch: Batch, block: Tensor) -> Tensor:
        """The product of one batch's summed Hessian: one gradient graph serves all columns."""
        theta = self.like.detach().requires_grad_()
        with torch.enable_grad():  # the caller may stand in no_grad
            total = self.objective.batch_total(theta, batch)
            (gradient,) = torch.autograd.grad(total, theta, create_graph=True)
        if not gradient.requires_grad:  # a loss that is linear in theta
            return torch.zeros_like(block)
        kept = self.objective.activation_bytes * batch.size
        return pulled_back([gradient], [theta], [block.T], bytes=kept)[0].T
