"""The Hessian of one layer's weights between directions that are combinations of its own rows."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.operators.base import LinearOperator
from landscape.space import Group


class WeightedRowsOperator(LinearOperator):
    """(G^1/2 x I) H_l (G^1/2 x I) with G = W W' for the weight W of one layer, its rows flattened.

    Its trace is sum_{s,s'} <w_s, w_s'> tr H_{s,s'}, the relative flatness of that layer (Petzka et al. 2021,
    definition 3). `inner` is the Hessian of all parameters, `group` says where the layer's weight lies in theta.
    """

    def __init__(self, inner: LinearOperator, group: Group, weight: Tensor) -> None:
        rows = weight.reshape(len(weight), -1)
        values, vectors = torch.linalg.eigh((rows.double() @ rows.double().T).cpu())
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        self.inner, self.group = inner, group
        self.root = root.to(weight)
        self.rows = tuple(rows.shape)
        self.size = rows.numel()
        self.like = inner.like[: self.size]

    def matmat(self, block: Tensor) -> Tensor:
        (begin, end) = self.group.ranges[0]
        whole = torch.zeros((self.inner.size, block.shape[1]), dtype=block.dtype, device=block.device)
        whole[begin:end] = self._weighted(block)
        return self._weighted(self.inner.matmat(whole)[begin:end])

    def _weighted(self, block: Tensor) -> Tensor:
        columns = block.reshape(self.rows[0], -1)
        weighted: Tensor = (self.root @ columns).reshape(block.shape)
        return weighted
