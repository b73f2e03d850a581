"""The Hessian of the mean loss, by reverse-over-reverse differentiation (Pearlmutter 1994).

Forward-over-reverse needs forward rules that mse_loss, LSTM, huber and attention lack; a second backward pass does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from landscape.compute.strategy import Strategy
from landscape.data.batches import Batch
from landscape.network.space import ParameterGroup
from landscape.objective.model_function import reraise_user_errors
from landscape.operators.base import LinearOperator
from landscape.operators.block_diagonal import BlockDiagonalHessian
from landscape.operators.graphs import Graph
from landscape.operators.pullback import pull_back
from landscape.operators.summed import SummedOperator
from landscape.operators.traced import compile_product, linearize


class HessianOperator(SummedOperator):
    """The Hessian `(P, P)` of an objective's mean loss."""

    name: ClassVar[str] = "hessian"
    can_trace: ClassVar[bool] = True

    def graph(self, batch: Batch) -> Graph:
        """The product with the Hessian of one batch's summed loss, through a new graph of its gradient."""
        theta = self.like.detach().requires_grad_()
        with torch.enable_grad():  # the caller may stand in no_grad
            total = self.objective.batch_total(theta, batch)
            (gradient,) = reraise_user_errors(batch, lambda: torch.autograd.grad(total, theta, create_graph=True))

        def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:
            if not gradient.requires_grad:  # a loss that is linear in theta
                return torch.zeros_like(block)
            rows = [block.T.contiguous()]
            return pull_back([gradient], [theta], rows, chunk_size=chunk_size, retain_graph=retain_graph)[0].T

        return product

    def trace(self, batch: Batch, strategy: Strategy) -> Graph:
        """One batch's product as a program: linearized, or compiled."""
        if strategy.kind == "linearize":
            return linearize(self.objective, self.like, batch, self.graph(batch))
        return compile_product(self.objective, self.like, batch)

    def block_diagonal(self, groups: Sequence[ParameterGroup]) -> LinearOperator:
        """The diagonal blocks, by short backward passes where the model allows it; frees this operator's graphs."""
        self.release()
        blocks = BlockDiagonalHessian(self.objective, groups, self.like)
        return blocks if blocks.is_supported() else super().block_diagonal(groups)
