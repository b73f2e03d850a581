"""The diagonal blocks of the Hessian, by backward passes that go no deeper than the parameters of each group."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.network.space import ParameterGroup
from landscape.objective import Objective
from landscape.objective.user_errors import reraise_user_errors
from landscape.operators.graphs import Graph
from landscape.operators.group_dots import group_dots
from landscape.operators.pullback import pull_back
from landscape.operators.summed import SummedOperator


class BlockDiagonalHessian(SummedOperator):
    """The diagonal blocks of the Hessian on groups of parameters; rows and columns outside the groups are zero."""

    name: ClassVar[str] = "blocks of the hessian"

    def __init__(self, objective: Objective, groups: Sequence[ParameterGroup], theta: Tensor | None = None) -> None:
        super().__init__(objective, theta)
        self.groups = groups

    def graph(self, batch: Batch) -> Graph:
        """One gradient graph for all groups, with every parameter as a leaf of its own."""
        named = self.objective.space.unflatten(self.like.detach())
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in named.items()}
        with torch.enable_grad():
            total = self.objective.batch_total(leaves, batch)
            gradients = reraise_user_errors(
                batch,
                lambda: torch.autograd.grad(total, list(leaves.values()), create_graph=True, allow_unused=True),
            )
        gradient = dict(zip(leaves, gradients, strict=True))
        curved = {name for name, part in gradient.items() if part is not None and part.requires_grad}
        names_of_groups = [[name for name in group.names if name in curved] for group in self.groups]
        objective = self.objective

        def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:  # noqa: ARG001 (a Graph's)
            vectors = _by_name(objective, block)
            images = _by_name(objective, result := torch.zeros_like(block))
            for names in filter(None, names_of_groups):
                outputs, inputs = [gradient[n] for n in names], [leaves[n] for n in names]
                rows = [vectors[n] for n in names]
                parts = pull_back(outputs, inputs, rows, chunk_size=chunk_size, retain_graph=True)
                for name, part in zip(names, parts, strict=True):
                    images[name].copy_(part)
            return result

        return product

    def block_quadratics(
        self, groups: Sequence[ParameterGroup], block: Tensor, cuts: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The quadratic forms of each group's part of each column, `(G, L, K)`, and counts: its own blocks in one pass.

        Raises ValueError for other groups than those of the blocks.
        """
        if tuple(groups) != tuple(self.groups):
            raise ValueError("quadratic forms of other groups of parameters than those of the blocks")
        shape = (len(cuts) + 1, len(groups), block.shape[1])
        self._record_products_by_sample(block.shape[1])

        def kernel(batch: Batch) -> tuple[Tensor, Tensor]:
            """The quadratic forms of one batch, and its counts, at the places of its groups of samples."""
            sums = torch.zeros(shape, dtype=torch.float64, device=block.device)
            counts = sums.new_zeros(len(sums))
            for piece in batch.cut(cuts):
                place = bisect_right(cuts, piece.first)
                image = self.graph(piece)(block, chunk_size=1, retain_graph=False)
                sums[place] += group_dots(groups, block, image)
                counts[place] += self.objective.batch_count(piece)
            return sums, counts

        sums, counts = self.objective.sums(kernel)
        return sums, counts

    def is_supported(self) -> bool:
        """Whether every gradient depends on its own parameter.

        Where one does not, torch does not say whether the block is zero or a derivative formula is missing.
        """
        sample = next(iter(self.objective.first(1).batches))
        try:
            self.graph(sample)(self.like[:, None], chunk_size=1, retain_graph=False)
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
