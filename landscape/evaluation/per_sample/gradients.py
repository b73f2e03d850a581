"""Sums over samples of each sample's own gradient: its square, and its part along the weights; none is stored."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.compute.vmapping import try_vmap
from landscape.data.batches import Batch
from landscape.data.trees import map_tensors
from landscape.evaluation.per_sample.outcomes import require_separate_samples
from landscape.objective import Objective

CHUNK_BYTES = 64 << 20  # of gradients in memory at once


def gradient_moments(objective: Objective) -> tuple[Tensor, Tensor]:
    """sum_i ||s_i||^2 and sum_i (theta's_i)^2 over samples, float64, with s_i the gradient of sample i's summed loss.

    The mean gradient is sum_i s_i over the objective's count. All samples of a chunk go through the model together
    (`torch.func.vmap`) where the model allows it. Raises TaskError if no sample has a loss of its own.
    """
    require_separate_samples(objective)

    def kernel(batch: Batch) -> tuple[Tensor, ...]:
        """The sums over one batch of |g_n|² and of (g_n'theta)², shape (2,)."""
        chunk = max(1, CHUNK_BYTES // max(objective.theta.nbytes, 1))
        squares = torch.zeros(2, dtype=torch.float64, device=objective.device)
        for piece in batch.split(chunk):
            rows = sample_gradients(objective, piece).double()
            squares += torch.stack([rows.square().sum(), (rows @ objective.theta.double()).square().sum()])
        return (squares,)

    (totals,) = objective.sums(kernel)
    return totals[0], totals[1]


def sample_gradients(objective: Objective, batch: Batch) -> Tensor:
    """The gradient of each sample's summed loss, `(n, P)`."""

    def gradient_of(inputs: object, targets: object) -> Tensor:
        """The gradient `(P,)` of one sample's summed loss."""
        one = Batch(map_tensors(lambda t: t[None], inputs), map_tensors(lambda t: t[None], targets), batch.first)
        gradient: Tensor = torch.func.grad(lambda theta: objective.batch_total(theta, one))(objective.theta)
        return gradient

    rows = try_vmap(gradient_of, batch.inputs, batch.targets) if batch.size > 1 else None
    if rows is None:
        return torch.stack([objective.batch_gradient(objective.theta, one)[1] for one in batch.split(1)])
    return rows
