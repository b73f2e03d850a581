"""Each sample's loss, the number of terms that its loss counts, and how many of its predictions are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.compute.vmapping import try_vmap
from landscape.data.batches import Batch
from landscape.data.trees import map_tensors
from landscape.errors import TaskError
from landscape.losses.predictions import wrong_predictions
from landscape.losses.terms import TermsLoss, describe_objective
from landscape.objective import Objective
from landscape.objective.model_function import Theta


@dataclass(frozen=True)
class SampleOutcomes:
    """By sample, `(N,)` each, float64: summed loss, number of counted terms, and number of right predictions.

    `right` is NaN for a loss without classes.
    """

    losses: Tensor
    counts: Tensor
    right: Tensor

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.sum() / self.counts.sum())

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return float(self.right.sum() / self.counts.sum())

    @property
    def means(self) -> Tensor:
        """Each sample's mean loss; NaN for a sample that counts nothing."""
        return self.losses / self.counts


def sample_outcomes(objective: Objective, theta: Theta | None = None) -> SampleOutcomes:
    """The outcomes of all samples at theta, in one pass without a graph."""
    point = objective.theta if theta is None else theta

    def kernel(batch: Batch) -> Tensor:
        with torch.no_grad():
            output = objective.batch_output(point, batch)
            losses = sample_losses(objective, output, batch)
            counts, right = sample_counts(objective, output, batch)
        return torch.stack([losses.double(), counts, right], dim=1)

    return SampleOutcomes(*gather_samples(objective, kernel).T)


def gather_samples(objective: Objective, kernel: Callable[[Batch], Tensor]) -> Tensor:
    """The rows that `kernel` returns for the samples of a batch, `(n, k)`, for all samples: `(N, k)`, float64.

    Raises TaskError if a sample's loss depends on the others in its batch.
    """
    require_separate_samples(objective)

    def rows_in_place(batch: Batch) -> Tensor:
        """The rows of one batch at their samples' places among zeros, `(N, k)`."""
        rows = kernel(batch).double()
        whole = rows.new_zeros((objective.batches.samples, rows.shape[1]))
        whole[batch.first : batch.first + batch.size] = rows
        return whole

    return objective.accumulate(rows_in_place)


def has_separate_losses(objective: Objective) -> bool:
    """Whether each sample has a loss of its own, but for losses of outputs, for which this is an error if not."""
    loss = objective.loss
    return not isinstance(loss, TermsLoss) or (loss.separate and not objective.as_given)


def require_separate_samples(objective: Objective) -> None:
    """Raises TaskError if a sample has no loss of its own, because it depends on the others in its batch."""
    if isinstance(objective.loss, TermsLoss) and not objective.loss.separate:
        raise TaskError(
            f"{describe_objective(objective.loss.name)} has no loss for each sample, nor a gradient",
            fix="return losses of shape (N,); eig, trace, density, sharpness and surface measure this one",
        )
    if objective.as_given:
        raise TaskError(
            "a sample's loss depends on the others in its batch: no sample has a loss or a gradient of its own",
            why="; ".join(finding.found for finding in objective.checks if finding.check == "independence"),
            fix="a loss that is a mean over samples; eig, trace, density, sharpness and surface measure this one",
        )


def sample_losses(objective: Objective, output: Any, batch: Batch) -> Tensor:
    """Each sample's summed loss `(n,)`, from the output of all."""
    if batch.unit:
        return objective.loss_total(output, batch)[None]

    def loss_of(output: Any, target: Any) -> Tensor:
        """The summed loss of one sample, from its output and its target."""
        piece = Batch(batch.inputs, map_tensors(_as_batch, target), batch.first)
        return objective.loss_total(map_tensors(_as_batch, output), piece)

    losses = try_vmap(loss_of, output, batch.targets)
    if losses is None:
        pairs = ((_sample(output, index), _sample(batch.targets, index)) for index in range(batch.size))
        losses = torch.stack([loss_of(*pair) for pair in pairs])
    return losses


def sample_counts(objective: Objective, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """How many terms each sample's loss counts, and how many of its predictions are right, `(n,)` each, float64."""
    judged = wrong_predictions(objective.loss, output, batch.targets)
    if judged is None:
        numbers = [objective.batch_count(one) for one in batch.split(1)]
        counts = torch.tensor(numbers, dtype=torch.float64, device=objective.device)
        return counts, torch.full_like(counts, torch.nan)
    wrong, counts = (part.reshape(batch.size, -1).double().sum(dim=1) for part in judged)
    return counts, counts - wrong


def _sample(tree: Any, index: int) -> Any:
    return map_tensors(lambda tensor: tensor[index], tree)


def _as_batch(tensor: Tensor) -> Tensor:
    return tensor[None]
