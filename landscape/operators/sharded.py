"""The Hessian of an objective whose vectors lie in parts on the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from landscape.compute.strategy import ProductKey, Strategy
from landscape.errors import UsageError
from landscape.network.gathered_units import UNSHARDED
from landscape.network.space import ParameterGroup
from landscape.objective.sharded.objective import ShardedObjective
from landscape.operators.base import LinearOperator


class ShardedHessian(LinearOperator):
    """The Hessian `(P, P)` of a mean loss; this rank multiplies the part `(length, K)` of blocks that it holds."""

    def __init__(self, objective: ShardedObjective) -> None:
        self.objective = objective
        self.size = objective.space.size
        self.like = objective.theta

    def matmat(self, block: Tensor) -> Tensor:
        """The product with a block of columns, `(length, K) -> (length, K)`, in a pass over the data for each."""
        objective = self.objective
        objective.strategies.chosen[ProductKey("hessian", block.shape[1], objective.largest_micro_batch)] = Strategy()
        columns = [objective.product(column.contiguous()) for column in block.T]
        return torch.stack(columns, dim=1) if len(columns) > 1 else columns[0][:, None]

    def __matmul__(self, other: Tensor) -> Tensor:
        """The product with a vector `(length,)` or a block `(length, K)`."""
        return self.matmat(other) if other.ndim == 2 else self.matmat(other[:, None])[:, 0]

    def block_diagonal(self, groups: Sequence[ParameterGroup]) -> NoReturn:
        """Raises UsageError: blocks are products of whole vectors."""
        del groups
        raise UsageError("--shard on measures no blocks", fix=f"leave --per-layer and --blocks out, or {UNSHARDED}")
