"""The Hessian of the mean loss, by reverse-over-reverse differentiation (Pearlmutter 1994).

Forward-over-reverse needs forward rules that mse_loss, LSTM, huber and attention lack; a second backward pass does not.
With `--hvp difference` products are differences of gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from landscape.compute.budget import is_large
from landscape.compute.strategy import Strategy
from landscape.data.batches import Batch
from landscape.network.graph_leaves import hand_over_gradients
from landscape.network.space import ParameterGroup
from landscape.objective import Objective
from landscape.objective.user_errors import reraise_user_errors
from landscape.operators.base import LinearOperator
from landscape.operators.block_diagonal import BlockDiagonalHessian
from landscape.operators.difference import Differences
from landscape.operators.graphs import Graph
from landscape.operators.pullback import pull_back
from landscape.operators.summed import SummedOperator
from landscape.operators.traced import compile_product, linearize


class HessianOperator(SummedOperator):
    """The Hessian `(P, P)` of an objective's mean loss."""

    name: ClassVar[str] = "hessian"
    can_trace: ClassVar[bool] = True

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        super().__init__(objective, theta)
        differ = objective.settings.hvp == "difference"
        self.differences = Differences(objective, self.like, self.name) if differ else None

    @property
    def product_error(self) -> float:
        """The largest measured error of a product with a unit vector, by differences; else 0."""
        return 0.0 if self.differences is None else self.differences.errors.largest

    def quadratic_errors(self, block: Tensor) -> Tensor | None:
        """What v'Hv is uncertain by, for each column v, by differences `(3, K)`; else None."""
        return None if self.differences is None else self.differences.quadratic_errors(block)

    def measure_errors_in(self, scale: Tensor) -> None:
        """From now on errors of products are those of C H C, with C the diagonal `scale (P,)`."""
        if self.differences is not None:
            self.differences.metric = scale

    def matmat(self, block: Tensor) -> Tensor:
        """The product with a block of columns, `(P, K) -> (P, K)`, in one pass over the data."""
        return super().matmat(block) if self.differences is None else self.differences.matmat(block)

    def prepare(self) -> None:
        """Chooses the step of differences, for which samples are looked at together."""
        if self.differences is not None:
            _ = self.differences.step

    def graph(self, batch: Batch) -> Graph:
        """The product with the Hessian of one batch's summed loss, through a new graph of its gradient."""
        if self.differences is not None:
            return self.differences.graph(batch)
        if is_large(self.size) and self.objective.function.resident is None:
            return self._graph_by_tensors(batch)
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

    def _graph_by_tensors(self, batch: Batch) -> Graph:
        """The same product by gradients in each tensor of the parameters, which takes less memory for large models."""
        objective = self.objective
        leaves = objective.space.leaves(self.like)
        inputs = list(leaves.values())
        with torch.enable_grad():
            total = objective.batch_total(leaves, batch)
            gradients = reraise_user_errors(
                batch, lambda: torch.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
            )
        # edges of the graph, since the values of the gradient are not needed again
        outputs = {
            name: get_gradient_edge(gradient)
            for name, gradient in zip(leaves, gradients, strict=True)
            if gradient is not None and gradient.requires_grad
        }
        del gradients

        def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:
            del chunk_size  # one column at a time
            image = torch.zeros_like(block.T)
            for index, column in enumerate(block.T if outputs else ()):
                vectors, parts = objective.space.unflatten(column), objective.space.unflatten(image[index])
                rows = [vectors[name][None] for name in outputs]
                retain = retain_graph or index + 1 < block.shape[1]
                with hand_over_gradients(leaves, lambda name, part, to=parts: to[name].copy_(part)):  # type: ignore[misc]
                    pull_back(list(outputs.values()), inputs, rows, retain_graph=retain, allow_unused=True)
            return image.T

        return product

    def trace(self, batch: Batch, strategy: Strategy) -> Graph:
        """One batch's product as a program: linearized, or compiled."""
        if strategy.kind == "linearize":
            return linearize(self.objective, self.like, batch, self.graph(batch))
        return compile_product(self.objective, self.like, batch)

    def strategy_bytes(self, columns: int, strategy: Strategy) -> int:
        """The peak memory of a product with so many columns."""
        if self.differences is None:
            return super().strategy_bytes(columns, strategy)
        return self.differences.peak_bytes(columns)

    def block_diagonal(self, groups: Sequence[ParameterGroup]) -> LinearOperator:
        """The diagonal blocks, by short backward passes where the model allows it; frees this operator's graphs."""
        return self._short_blocks(groups) or super().block_diagonal(groups)

    def block_quadratics(
        self, groups: Sequence[ParameterGroup], block: Tensor, cuts: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The quadratic forms of the groups' parts of columns, `(G, L, K)`, and counts, by short backward passes."""
        blocks = self._short_blocks(groups)
        return (blocks.block_quadratics if blocks else super().block_quadratics)(groups, block, cuts)

    def _short_blocks(self, groups: Sequence[ParameterGroup]) -> BlockDiagonalHessian | None:
        """The diagonal blocks by short backward passes; None where the model, or the strategy, does not allow it."""
        self.release()
        if self.differences is not None:
            return None
        blocks = BlockDiagonalHessian(self.objective, groups, self.like)
        return blocks if blocks.is_supported() else None
