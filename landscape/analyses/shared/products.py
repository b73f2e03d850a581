"""The matrix of an analysis, what its products cost, and its quadratic forms by group of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landscape import operators
from landscape.algorithms.estimators.resampling import group_ends
from landscape.compute.timing import extrapolate
from landscape.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.analyses.shared.curvature import Curvature, Resampled
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

BLOCK_COST = 0.15  # of a product for each block: 39 of digits-resnet took 6 products' time, 16 of charlm 1.8


def build_operator(analysis: Curvature, objective: Objective) -> LinearOperator:
    """The operator that the analysis names, at the weights of the objective."""
    return operators.operator(analysis.operator, objective, seed=analysis.seed, labels=analysis.labels)


def seconds_per_product(analysis: Curvature, objective: Objective, columns: int = 1) -> float:
    """Seconds for the product of one column with all data, where `columns` are multiplied in one pass.

    Extrapolated from one micro-batch after a warm-up.
    """
    trial = objective.first(objective.micro_batch)
    operator = build_operator(analysis, trial)
    block = torch.ones((operator.size, columns), dtype=operator.like.dtype, device=operator.like.device)
    samples = objective.batches.samples
    return extrapolate(lambda: operator.matmat(block), trial.batches.samples, samples) / columns


def product_facts(analysis: Curvature, objective: Objective, columns: int = 1) -> tuple[dict[str, str], int]:
    """For a plan, once products were timed: the strategy of products with so many columns in words, and its bytes."""
    operator = build_operator(analysis, objective)
    strategy = operator.strategy(columns)
    if strategy is None:
        return {}, 0
    size = operator.strategy_bytes(columns, strategy)
    return {"hvp": f"{strategy}, {size / 1e6:,.1f} MB of graphs and columns"}, size


def group_quadratics(
    analysis: Resampled, operator: LinearOperator, objective: Objective, block: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """v'Sv of each column v of `block` `(P, K)` with each group's own sum S, `(G, K)`, and the counts, `(G,)`."""
    sums, counts = operator.quadratics(block, group_ends(objective.batches.samples, analysis.resample))
    return sums.cpu().numpy(), counts.cpu().numpy()


def require_resampling(analysis: Resampled, operator: LinearOperator, objective: Objective) -> None:
    """Raises UsageError for fewer samples than groups, or for an operator that is not a sum over samples."""
    groups, samples = analysis.resample, objective.batches.samples
    if groups > samples:
        raise UsageError(f"--resample {groups} groups of {samples} samples", fix=f"--resample {samples}")
    if groups and not operator.additive:
        whole = "the loss depends on where batches end" if objective.as_given else ""
        raise UsageError(
            f"--resample cannot take apart --operator {analysis.operator}",
            why=whole,
            fix="leave --resample out" if whole else "--operator hessian",
        )


def preconditioner_notes(analysis: Curvature, objective: Objective) -> tuple[str, ...]:
    """Notes on the preconditioner for `Result.notes`, where the analysis multiplies by it."""
    return objective.preconditioner_notes if analysis.operator == "preconditioned" else ()
