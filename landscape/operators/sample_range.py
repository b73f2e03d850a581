"""A matrix that is a sum over samples, restricted to consecutive samples of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator

if TYPE_CHECKING:
    from landscape.data.batches import Batch
    from landscape.operators.summed import SummedOperator


class SampleRangeOperator(LinearOperator):
    """The sum of `inner` over the samples from position `first` up to `end`, divided by their own count of loss terms.

    The data stay where they are: a product passes over all batches, and computes with the samples of the range alone.
    Without loss terms the matrix is zero.
    """

    def __init__(self, inner: SummedOperator, first: int, end: int) -> None:
        self.inner = inner
        self.first, self.end = first, end
        self.like, self.size = inner.like, inner.size

    def matmat(self, block: Tensor) -> Tensor:
        """The product `(P, K)`, in one pass over the data."""

        def kernel(batch: Batch) -> tuple[Tensor, Tensor]:
            """The product with one batch's samples of the range, and their count."""
            total, count = torch.zeros_like(block), torch.zeros((), dtype=torch.float64, device=block.device)
            for piece in batch.cut([self.first, self.end]):
                if self.first <= piece.first < self.end:
                    total += self.inner.graph(piece)(block, chunk_size=1, retain_graph=False)
                    count += self.inner.objective.batch_count(piece)
            return total, count

        self.inner.prepare()
        product, count = self.inner.objective.sums(kernel)
        return product.div_(float(count) or 1.0)
