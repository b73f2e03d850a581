"""The diagonal blocks of a matrix: what is left of it when parameters of different groups do not see each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.network.space import ParameterGroup
from landscape.objective import Objective
from landscape.operators.base import LinearOperator
from landscape.operators.graphs import Graph
from landscape.operators.hessian import HessianOperator
from landscape.operators.preconditioned import PreconditionedOperator
from landscape.operators.pullback import pull_back
from landscape.operators.summed import SummedOperator

WIDE_BYTES = 256 << 20  # a block of columns, one for each group, at most


class BlockDiagonalOperator(LinearOperator):
    """diag(A_11, A_22, ...) of any operator A; rows and columns outside the groups are zero.

    A product takes a column of A for every group.
    """

    def __init__(self, inner: LinearOperator, groups: Sequence[ParameterGroup]) -> None:
        self.inner = inner
        self.groups = groups
        self.like = inner.like
        self.size = inner.size

    def matmat(self, block: Tensor) -> Tensor:
        product = torch.zeros_like(block)
        columns = block.shape[1]
        together = max(1, WIDE_BYTES // max(block.nbytes, 1))
        for first in range(0, len(self.groups), together):
            some = self.groups[first : first + together]
            wide = torch.zeros((len(some), columns, self.size), dtype=block.dtype, device=block.device)
            for one, group in zip(wide, some, strict=True):
                _copy(group, block.T, one)
            image = self.inner.matmat(wide.view(-1, self.size).T).T.reshape(wide.shape)
            for one, group in zip(image, some, strict=True):
                _copy(group, one, product.T)
        return product


class BlockDiagonalHessian(SummedOperator):
    """The diagonal blocks of the Hessian; a group's second backward pass goes no deeper than its own parameters."""

    name: ClassVar[str] = "blocks of the hessian"

    def __init__(self, objective: Objective, groups: Sequence[ParameterGroup]) -> None:
        super().__init__(objective)
        self.groups = groups
        self.shapes = {block.name: block.shape for block in objective.space.blocks}

    def graph(self, batch: Batch) -> Graph:
        named = self.objective.space.unflatten(self.like.detach())
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in named.items()}
        with torch.enable_grad():
            total = self.objective.batch_total(leaves, batch)
            slopes = torch.autograd.grad(total, list(leaves.values()), create_graph=True, allow_unused=True)
        gradient = dict(zip(leaves, slopes, strict=True))
        curved = {name for name, slope in gradient.items() if slope is not None and slope.requires_grad}
        chosen = [[name for name in group.names if name in curved] for group in self.groups]
        objective = self.objective

        def product(block: Tensor, *, together: int, keep: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
            vectors = _by_name(objective, block)
            images = _by_name(objective, result := torch.zeros_like(block))
            for names in filter(None, chosen):
                outputs, inputs = [gradient[n] for n in names], [leaves[n] for n in names]
                parts = pull_back(outputs, inputs, [vectors[n] for n in names], together=together, keep=True)
                for name, part in zip(names, parts, strict=True):
                    images[name].copy_(part)
            return result

        return product


def block_diagonal(inner: LinearOperator, groups: Sequence[ParameterGroup]) -> LinearOperator:
    """The diagonal blocks of an operator, by the cheapest way there is."""
    if isinstance(inner, PreconditionedOperator):  # a diagonal scaling does not mix blocks
        return inner.around(block_diagonal(inner.inner, groups))
    if type(inner) is HessianOperator:
        inner.release()
        fast = BlockDiagonalHessian(inner.objective, groups)
        if _works(fast):
            return fast
    return BlockDiagonalOperator(inner, groups)


def _works(operator: BlockDiagonalHessian) -> bool:
    """Whether every gradient depends on its own parameter: torch does not tell such a zero from a missing formula."""
    piece = next(iter(operator.objective.first(1).batches))
    try:
        operator.graph(piece)(operator.like[:, None], together=1, keep=False)
    except TaskError:
        return False
    return True


def _by_name(objective: Objective, block: Tensor) -> dict[str, Tensor]:
    """Views of a block `(P, K)` as `(K, *shape)` by parameter."""
    space = objective.space
    parts = torch.split(block.T, [part.size for part in space.blocks], dim=1)
    return {
        part.name: view.unflatten(1, part.shape) if part.shape else view[:, 0]  # type: ignore[no-untyped-call]
        for part, view in zip(space.blocks, parts, strict=True)
    }


def _copy(group: ParameterGroup, source: Tensor, target: Tensor) -> None:
    """The group's coordinates along the last axis."""
    for there, here in zip(group.of(target), group.of(source), strict=True):
        there.copy_(here)
