"""The loss and its gradient at several points of parameter space, in one pass over the data.

Small nets spend their time on launching operations: there all points go through the model together (`torch.func.vmap`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.compute.vmapping import try_vmap
from landscape.data.batches import Batch
from landscape.objective import Objective
from landscape.objective.user_errors import reraise_user_errors

# Bytes of all points together up to which they share one vectorized pass. With more bytes arithmetic outweighs
# launching: on two cores, 9 points were 1.4 to 3 times faster up to 50 MB, and 0.7 times at 350 MB.
VECTORIZED_BYTES = 64 << 20


def values(objective: Objective, thetas: Tensor) -> Tensor:
    """L at the columns of `thetas (P, K)`: `(K,)`, float64."""

    def kernel(batch: Batch) -> tuple[Tensor, ...]:
        """The summed losses of one batch at all points."""
        with torch.no_grad():
            return (_totals(objective, thetas.T, batch).double(),)

    (totals,) = objective.sums(kernel)
    return totals / objective.count


def values_and_gradients(objective: Objective, thetas: Tensor) -> tuple[Tensor, Tensor]:
    """L `(K,)`, float64, and its gradients `(P, K)` at the columns of `thetas (P, K)`."""

    def kernel(batch: Batch) -> tuple[Tensor, ...]:
        """The summed losses of one batch at all points."""
        if not _fits_one_pass(objective, batch, thetas.shape[1]):
            return _one_by_one(objective, thetas.T, batch)
        rows = thetas.T.detach().requires_grad_()
        with torch.enable_grad():
            totals = objective.with_graph(_totals(objective, rows, batch), rows)
            (gradients,) = reraise_user_errors(batch, lambda: torch.autograd.grad(totals.sum(), rows))
        return totals.detach().double(), gradients

    totals, gradients = objective.sums(kernel)
    return totals / objective.count, gradients.div_(objective.count).T


def points_per_pass(objective: Objective, most: int) -> int:
    """How many points, at most `most`, share a vectorized pass; 1 if each goes alone."""
    return max(1, min(most, VECTORIZED_BYTES // _point_bytes(objective, objective.largest_micro_batch)))


def _point_bytes(objective: Objective, samples: int) -> int:
    """Bytes of one point in a vectorized pass: its activations, and parameters with their gradient."""
    return objective.activation_bytes * samples + 2 * objective.theta.nbytes


def _fits_one_pass(objective: Objective, batch: Batch, count: int) -> bool:
    return (
        objective.function.resident is None
        and count > 1
        and count * _point_bytes(objective, batch.size) <= VECTORIZED_BYTES
    )


def _totals(objective: Objective, rows: Tensor, batch: Batch) -> Tensor:
    """The summed losses of a batch at the rows of `(K, P)`: `(K,)`."""

    def total(row: Tensor) -> Tensor:
        """The summed loss of the batch at one row."""
        return objective.batch_total(row, batch)

    together = try_vmap(total, rows) if _fits_one_pass(objective, batch, len(rows)) else None
    return torch.stack([total(row) for row in rows]) if together is None else together


def _one_by_one(objective: Objective, rows: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Totals `(K,)` and gradients `(K, P)`, with one point's graph in memory at a time."""
    if len(rows) == 1:
        total, gradient = objective.batch_gradient(rows[0], batch)
        return total[None], gradient[None]
    totals, gradients = [], torch.empty_like(rows, memory_format=torch.contiguous_format)
    for index, row in enumerate(rows):
        total, gradients[index] = objective.batch_gradient(row, batch)
        totals.append(total)
    return torch.stack(totals), gradients
