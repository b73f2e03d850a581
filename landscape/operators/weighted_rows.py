"""The Hessian of one layer's weights, restricted to directions that combine the rows of the weight matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.network.filters import FilterAxis, filter_rows
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator


class WeightedRowsOperator(LinearOperator):
    """(F x I)' H (F x I) with F F' = W W' for the weight W of one layer, its filters as rows.

    Its trace is sum_{s,s'} <w_s, w_s'> tr H_{s,s'}, the relative flatness of that layer (Petzka et al. 2021,
    definition 3). F is W itself or (W W')^1/2, whichever is narrower. `inner` is the Hessian of all parameters, `group`
    the position of the layer's weight in theta, and `where` the axis of its filters.
    """

    def __init__(self, inner: LinearOperator, group: ParameterGroup, weight: Tensor, where: FilterAxis) -> None:
        rows = filter_rows(weight, where)
        positions = filter_rows(torch.arange(weight.numel(), device=weight.device).view(weight.shape), where)
        self.inner = inner
        self.positions = positions.flatten() + group.ranges[0][0]
        self.factor = _root(rows) if len(rows) <= rows.shape[1] else rows
        self.size = self.factor.shape[1] * rows.shape[1]
        self.like = inner.like.new_empty(0)

    def matmat(self, block: Tensor) -> Tensor:
        """The product `(P', K)` with P' = `size`, by one product of the inner operator."""
        whole = torch.zeros((self.inner.size, block.shape[1]), dtype=block.dtype, device=block.device)
        whole[self.positions] = _times(self.factor, block)
        return _times(self.factor.T, self.inner.matmat(whole)[self.positions])


def _times(matrix: Tensor, block: Tensor) -> Tensor:
    """(matrix x I) times columns, each of which is a matrix, flattened row by row."""
    product: Tensor = matrix @ block.reshape(matrix.shape[1], -1)
    return product.reshape(-1, block.shape[1])


def _root(rows: Tensor) -> Tensor:
    """(W W')^1/2."""
    values, vectors = torch.linalg.eigh((rows.double() @ rows.double().T).cpu())
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root.to(rows)
