"""Inner products of the parts of vectors that belong to groups of parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.compute.inner_products import row_dots
from landscape.network.space import ParameterGroup


def group_dots(groups: Sequence[ParameterGroup], left: Tensor, right: Tensor) -> Tensor:
    """The inner product of column k of two blocks `(P, K)` on each of L groups, `(L, K)`, float64."""
    return torch.stack([_dots(group, left.T, right.T) for group in groups])


def _dots(group: ParameterGroup, left: Tensor, right: Tensor) -> Tensor:
    """The inner products of the rows `(K, P)` on one group, `(K,)`."""
    pairs = zip(group.of(left), group.of(right), strict=True)
    return torch.stack([row_dots(ours, theirs) for ours, theirs in pairs]).sum(dim=0)
