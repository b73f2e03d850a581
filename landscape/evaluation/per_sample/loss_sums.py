"""Each sample's summed loss at any weights, with the number of terms that it counts."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.evaluation.per_sample.outcomes import gather_samples, has_separate_losses, sample_counts, sample_losses
from landscape.losses.terms import TermsLoss
from landscape.objective import Objective
from landscape.objective.model_function import Theta

SAME_COUNT = 1e-9  # relative: between the terms of a batch and the sum of its samples' terms


def has_sample_losses(objective: Objective) -> bool:
    """Whether the loss is a sum of losses of single samples that follow from the model's outputs, or are returned."""
    separate = has_separate_losses(objective) and not objective.as_given
    return separate and not objective.function.loss_uses_parameters


def sample_loss_sums(objective: Objective, theta: Theta) -> Tensor:
    """Each sample's summed loss, with its share of the weight decay, and the terms that it counts: `(N, 2)`, float64.

    One pass without a graph. Raises TaskError if samples have no losses of their own.
    """

    def kernel(batch: Batch) -> Tensor:
        """The sums and counts of one batch, `(n, 2)`."""
        with torch.no_grad():
            output = objective.losses_or_output(theta, batch)
            counts = term_counts(objective, output, batch)
            losses = _losses(objective, output, batch).double()
            if objective.decay:
                losses = losses + counts * objective.decay.penalty(objective.function.weights(theta))
        return torch.stack([losses, counts], dim=1)

    return gather_samples(objective, kernel)


def term_counts(objective: Objective, output: object, batch: Batch) -> Tensor:
    """How many terms each sample's loss counts, `(n,)`, float64: weights of classes count as such."""
    if isinstance(objective.loss, TermsLoss):
        return torch.ones(batch.size, dtype=torch.float64, device=objective.device)
    whole = objective.batch_count(batch)
    counts, _ = sample_counts(objective, output, batch)
    if abs(float(counts.sum()) - whole) <= SAME_COUNT * abs(whole):
        return counts
    each = [objective.batch_count(one) for one in batch.split(1)]
    return torch.tensor(each, dtype=torch.float64, device=objective.device)


def _losses(objective: Objective, output: object, batch: Batch) -> Tensor:
    if isinstance(objective.loss, TermsLoss):
        return objective.loss.sample_totals(output, batch.size)
    return sample_losses(objective, output, batch)
