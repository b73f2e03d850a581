"""The matrix of an analysis, what its products cost, and its quadratic forms by group of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landscape import operators
from landscape.algorithms.estimators.resampling import group_ends
from landscape.compute.budget import columns_per_pass
from landscape.errors import UsageError
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators.pass_costs import (
    FORWARD_SHARE,
    GRADIENTS_OF_DIFFERENCE,
    gradients_per_product,
    keeps_graphs,
    likely_strategy,
    product_memory,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.analyses.shared.curvature import MatrixOptions, Resampled
    from landscape.choices import OperatorName
    from landscape.objective import Objective
    from landscape.operators import LinearOperator

COUNTED_OVERHEAD = 1.15  # on the fewest gradients of a product: measured 2.0 to 2.5 where 2 are the fewest
BLOCK_COST = 0.15  # of a product for each block: 39 of digits-resnet took 6 products' time, 16 of charlm 1.8


def build_operator(analysis: MatrixOptions, objective: Objective) -> LinearOperator:
    """The operator that the analysis names, at the weights of the objective."""
    return operators.operator(analysis.operator, objective, seed=analysis.seed, labels=analysis.labels)


def seconds_per_product(analysis: MatrixOptions, objective: Objective, columns: int = 1) -> float:
    """Seconds for the product of one column with all data, where `columns` are multiplied in one pass.

    No product is made: the time of a gradient is multiplied by the known cost of a product in gradients. Where graphs
    are rebuilt, the columns of one pass share one gradient.
    """
    if objective.settings.hvp == "difference":
        return GRADIENTS_OF_DIFFERENCE * seconds_per_gradient(objective)
    kept = keeps_graphs(objective)
    first, rebuilt = (gradients_per_product(analysis.operator, kept=now) for now in (True, False))
    each = first + (0 if kept else (rebuilt - first) / columns)
    return each * seconds_per_gradient(objective)


def gradients_per_product_by_count(analysis: MatrixOptions, objective: Objective) -> float:
    """How many gradients the product of a column takes, whatever memory there is: as with graphs that are kept."""
    fewest = fewest_gradients_of_product(objective, analysis.operator)
    return fewest if objective.settings.hvp == "difference" else COUNTED_OVERHEAD * fewest


def fewest_gradients_of_product(objective: Objective, name: OperatorName = "hessian") -> float:
    """The gradients that a result counts for the product of a column: as if graphs were kept.

    Neither the memory nor the strategy is asked, so that a run has the same cost wherever it is resumed.
    """
    if objective.settings.hvp == "difference":
        return GRADIENTS_OF_DIFFERENCE
    return gradients_per_product(name, kept=True)


def count_gradients(
    objective: Objective,
    name: OperatorName = "hessian",
    *,
    products: float = 0,
    gradients: float = 0,
    losses: float = 0,
) -> float:
    """The work of so many products with the named matrix, gradients and losses over the full data, in gradients."""
    return gradients + products * fewest_gradients_of_product(objective, name) + losses * FORWARD_SHARE


def products_of_blocks(passes: int, groups: int) -> float:
    """The products that take as long as so many passes over the data for the diagonal blocks of so many groups."""
    return passes * (1 + groups * BLOCK_COST)


def product_facts(analysis: MatrixOptions, objective: Objective, columns: int = 1) -> tuple[dict[str, str], int]:
    """For a plan, which makes no product: the likely strategy of so many columns in words, and the bytes it takes."""
    if objective.settings.hvp == "difference":
        size = sum(product_memory(objective, analysis.operator, columns).values())
        return {"hvp": f"differences of gradients, {size / 1e6:,.1f} MB, without those that measure their error"}, size
    kept = "graphs kept" if keeps_graphs(objective) else "graphs rebuilt"
    strategy = likely_strategy(objective, analysis.operator, columns)
    size = sum(product_memory(objective, analysis.operator, columns).values())
    return {"hvp": f"{strategy}, {kept}, {size / 1e6:,.1f} MB: estimated, the first product tries others"}, size


def group_quadratics(
    analysis: Resampled, operator: LinearOperator, objective: Objective, block: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """v'Sv of each column v of `block` `(P, K)` with each group's own sum S, `(G, K)`, and the counts, `(G,)`."""
    ends = group_ends(objective.batches.samples, analysis.resample)
    width = columns_per_pass(block.shape[1], objective.theta, objective.graph_bytes)
    parts = [operator.quadratics(columns, ends) for columns in torch.split(block, width, dim=1)]
    return torch.cat([sums for sums, _ in parts], dim=1).cpu().numpy(), parts[0][1].cpu().numpy()


def require_resampling(analysis: Resampled, operator: LinearOperator, objective: Objective) -> None:
    """Raises UsageError for fewer samples than groups, or for an operator that is not a sum over samples."""
    groups, samples = analysis.resample, objective.batches.samples
    option = "--data-error" if analysis.data_error else "--resample"
    if groups > samples:
        raise UsageError(f"--resample {groups} groups of {samples} samples", fix=f"--resample {samples}")
    if groups and objective.as_given:
        raise UsageError(
            f"{option} needs samples that can be taken apart",
            why="the loss depends on where batches end: they are taken as given",
            fix=f"leave {option} out",
        )
    if groups and not operator.additive:
        raise UsageError(f"{option} cannot take apart --operator {analysis.operator}", fix="--operator hessian")


def preconditioner_notes(analysis: MatrixOptions, objective: Objective) -> tuple[str, ...]:
    """Notes on the preconditioner for `Result.notes`, where the analysis multiplies by it."""
    return objective.preconditioner_notes if analysis.operator == "preconditioned" else ()
