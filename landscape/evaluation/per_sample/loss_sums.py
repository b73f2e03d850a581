"""Each sample's summed loss at any weights, with the number of terms that it counts."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch
from landscape.errors import LostRankError
from landscape.evaluation.per_sample.outcomes import gather_samples, has_separate_losses, sample_counts, sample_losses
from landscape.losses.terms import TermsLoss
from landscape.objective import Objective
from landscape.objective.model_function import Theta

TRIAL_SAMPLES = 4  # on which sums from outputs are compared with those of single samples
SAME_LOSS = 1e-3  # relative to the largest: between these sums, in float32
SAME_COUNT = 1e-9  # relative: between the terms of a batch and the sum of its samples' terms


def has_sample_losses(objective: Objective) -> bool:
    """Whether the loss is a sum of losses of single samples that follow from the model's outputs, or are returned.

    A trial compares those of a few samples with the losses of passes of one sample each.
    """
    if objective.as_given or not has_separate_losses(objective) or objective.function.loss_uses_parameters:
        return False
    few = objective.first(TRIAL_SAMPLES).alone()
    try:
        together = sample_loss_sums(few, few.theta)[:, 0]
        with torch.no_grad():
            pieces = [piece for batch in few.micro_batches() for piece in batch.split(1)]
            apart = torch.stack([few.batch_total(few.theta, piece).double() for piece in pieces])
    except LostRankError:
        raise
    except Exception as error:  # outputs that cannot be taken apart make the user's loss raise anything
        if is_out_of_memory(error):
            raise
        return False
    return bool(((together - apart).abs() <= SAME_LOSS * apart.abs().max()).all())


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
