"""The second-order forecast g'd + d'Hd / 2 of every change, by groups of samples."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.snapshots import snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.sensitivity.change_vectors import ChangeVectors
from landscape.analyses.sensitivity.sample_groups import SampleGroups
from landscape.analyses.sensitivity.weight_changes import WeightChange
from landscape.analyses.shared.products import products_of_blocks
from landscape.compute.budget import columns_per_pass
from landscape.data.batches import Batch
from landscape.objective import Objective
from landscape.operators import LinearOperator
from landscape.operators.group_dots import group_dots


@dataclass(frozen=True)
class ForecastSums:
    """Sums over each of G groups of samples, for L layers and the C kinds of changes that are done, float64.

    `slopes` and `curvatures` `(G, L, C)` are those of g'd and d'Hd of single layers, `joint` `(G, C)` those of d'Hd of
    all layers at once, and `norms` `(L, C)` the norms of d.
    """

    slopes: np.ndarray
    curvatures: np.ndarray
    joint: np.ndarray
    norms: np.ndarray

    @property
    def done(self) -> int:
        """The kinds of changes that are done."""
        return int(self.joint.shape[1])

    @property
    def layers(self) -> np.ndarray:
        """The sums of the forecasts of single layers, `(G, L, C)`."""
        return self.slopes + self.curvatures / 2

    @property
    def together(self) -> np.ndarray:
        """The sums of the forecasts of all layers at once, `(G, C)`."""
        sums: np.ndarray = self.slopes.sum(axis=1) + self.joint / 2
        return sums

    def with_changes(self, more: ForecastSums) -> ForecastSums:
        """These sums and those of further kinds of changes."""
        pairs = ((getattr(self, name), getattr(more, name)) for name in vars(self))
        return ForecastSums(*(np.concatenate(pair, axis=-1) for pair in pairs))


def forecast_changes(
    objective: Objective,
    operator: LinearOperator,
    vectors: ChangeVectors,
    changes: Sequence[WeightChange],
    groups: SampleGroups,
    saved: State,
) -> Generator[Progress, None, ForecastSums]:
    """Yields after each block of columns; returns the sums of all kinds of changes.

    A column holds one kind of change of all layers, since a product with the diagonal blocks keeps layers apart.
    """
    sums = ForecastSums(**saved) if saved else _nothing(len(groups.cuts) + 1, len(vectors.layers))
    width = columns_per_pass(len(changes), objective.theta, objective.graph_bytes)
    while sums.done < len(changes):
        chunk = changes[sums.done : sums.done + width]
        block = torch.stack([vectors.all_layers(change) for change in chunk], dim=1)
        sums = sums.with_changes(_sums(objective, operator, vectors, block, groups))
        yield Progress(
            sums.done, len(changes), f"forecasts of {sums.done} of {len(changes)} changes", partial(snapshot, sums)
        )
    return sums


def count_products(analysis_operator: str, hvp: str, changes: int, layers: int) -> float:
    """Products that take as long as the forecasts: of all layers at once, and of the layers' blocks.

    Short backward passes for blocks are the Hessian's; of other matrices each layer takes a product of its own.
    """
    short = analysis_operator == "hessian" and hvp != "difference"
    return changes + (products_of_blocks(changes, layers) if short else changes * layers)


def _sums(
    objective: Objective, operator: LinearOperator, vectors: ChangeVectors, block: Tensor, groups: SampleGroups
) -> ForecastSums:
    """The sums for the columns of a block `(P, K)`."""
    slopes = _slopes(objective, vectors, block, groups)
    curvatures, _ = operator.block_quadratics(vectors.layers, block, groups.cuts)
    joint, _ = operator.quadratics(block, groups.cuts)
    squares = group_dots(vectors.layers, block, block)
    return ForecastSums(*(part.cpu().numpy() for part in (slopes, curvatures, joint, squares.sqrt())))


def _slopes(objective: Objective, vectors: ChangeVectors, block: Tensor, groups: SampleGroups) -> Tensor:
    """The sums of g'd over each group of samples, `(G, L, K)`, in one pass."""

    def kernel(batch: Batch) -> Tensor:
        """The sums of one batch at the places of its groups."""
        sums = torch.zeros(
            (len(groups.cuts) + 1, len(vectors.layers), block.shape[1]), dtype=torch.float64, device=block.device
        )
        for piece in batch.cut(groups.cuts):
            _, gradient = objective.batch_gradient(objective.theta, piece)
            columns = gradient[:, None].expand(-1, block.shape[1])
            sums[bisect_right(groups.cuts, piece.first)] += group_dots(vectors.layers, block, columns)
        return sums

    return objective.accumulate(kernel)


def _nothing(groups: int, layers: int) -> ForecastSums:
    return ForecastSums(
        np.zeros((groups, layers, 0)), np.zeros((groups, layers, 0)), np.zeros((groups, 0)), np.zeros((layers, 0))
    )
