"""The Hessian of the mean loss, by reverse-over-reverse differentiation (Pearlmutter 1994).

Forward-over-reverse needs forward rules that mse_loss, LSTM, huber and attention lack; a second backward pass does not.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from landscape.compute.strategy import Strategy
from landscape.data.batches import Batch
from landscape.operators.graphs import Graph
from landscape.operators.pullback import pull_back
from landscape.operators.summed import SummedOperator
from landscape.operators.traced import compile_product, linearize


class HessianOperator(SummedOperator):
    """The Hessian `(P, P)` of an objective's mean loss."""

    name: ClassVar[str] = "hessian"
    replays: ClassVar[bool] = True

    def graph(self, batch: Batch) -> Graph:
        theta = self.like.detach().requires_grad_()
        with torch.enable_grad():  # the caller may stand in no_grad
            total = self.objective.batch_total(theta, batch)
            (gradient,) = torch.autograd.grad(total, theta, create_graph=True)

        def product(block: Tensor, *, together: int, keep: bool) -> Tensor:
            if not gradient.requires_grad:  # a loss that is linear in theta
                return torch.zeros_like(block)
            return pull_back([gradient], [theta], [block.T.contiguous()], together=together, keep=keep)[0].T

        return product

    def replay(self, batch: Batch, way: Strategy) -> Graph:
        if way.kind == "linearize":
            return linearize(self.objective, self.like, batch, self.graph(batch))
        return compile_product(self.objective, self.like, batch)
