"""Matrices that are sums over samples, divided once by their count."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.batches import Batch
from landscape.objective import Objective
from landscape.operators.base import LinearOperator


class SummedOperator(LinearOperator):
    """A matrix `(P, P)` that is a sum over samples at `theta` (by default the objective's own), over its count."""

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        self.objective = objective
        self.like = objective.theta if theta is None else theta
        self.size = objective.space.size

    @abstractmethod
    def batch_product(self, batch: Batch, block: Tensor) -> Tensor:
        """The product of one batch's sum with a block, `(P, K) -> (P, K)`."""

    def matmat(self, block: Tensor) -> Tensor:
        product = self.objective.accumulate(lambda batch: self.batch_product(batch, block))
        return product.div_(self.objective.count)

    def quadratics(self, block: Tensor, cuts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """v'S v for each column v and each group's own sum S, and what each group counts: `(G, K)` and `(G,)`, float64.

        The groups end before the ascending `cuts`, places in the data set; the last one is what follows.
        """
        columns = block.shape[1]

        def kernel(batch: Batch) -> Tensor:
            rows = torch.zeros((len(cuts) + 1, columns + 1), dtype=torch.float64, device=block.device)
            for piece in batch.cut(cuts):
                row = rows[bisect_right(cuts, piece.first)]
                row[:columns] += (block * self.batch_product(piece, block)).sum(dim=0, dtype=torch.float64)
                row[columns] += self.objective.loss.count(piece.targets)
            return rows

        rows = self.objective.accumulate(kernel)
        return rows[:, :columns], rows[:, columns]
