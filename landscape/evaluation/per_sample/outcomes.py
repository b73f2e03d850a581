"""What each sample has of its own: its loss, what its loss counts, whether it is predicted right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.compute.vmapping import try_vmap
from landscape.data.batches import Batch, map_tensors
from landscape.losses.predictions import wrong_predictions
from landscape.objective import Objective


@dataclass(frozen=True)
class SampleOutcomes:
    """By sample, `(N,)` each, float64: summed loss, what it counts, and how many of its predictions are right.

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
        """Each sample's mean loss; NaN for one that counts nothing."""
        return self.losses / self.counts


def sample_outcomes(objective: Objective, theta: Tensor | None = None) -> SampleOutcomes:
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
    """What `kernel` gives for the samples of a batch, `(n, k)`, for all samples `(N, k)`, float64."""

    def placed(batch: Batch) -> Tensor:
        rows = kernel(batch).double()
        whole = rows.new_zeros((objective.batches.samples, rows.shape[1]))
        whole[batch.first : batch.first + batch.size] = rows
        return whole

    return objective.accumulate(placed)


def sample_losses(objective: Objective, output: Any, batch: Batch) -> Tensor:
    """Each sample's summed loss `(n,)`, from the output of all."""

    def alone(one: Any, target: Any) -> Tensor:
        piece = Batch(batch.inputs, map_tensors(_single, target), batch.first)
        return objective.loss_total(map_tensors(_single, one), piece)

    found = try_vmap(alone, output, batch.targets)
    if found is None:
        found = torch.stack([alone(_at(output, place), _at(batch.targets, place)) for place in range(batch.size)])
    return found


def _at(tree: Any, place: int) -> Any:
    return map_tensors(lambda tensor: tensor[place], tree)


def _single(tensor: Tensor) -> Tensor:
    return tensor[None]


def sample_counts(objective: Objective, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """What each sample's loss counts, and how many of its predictions are right, `(n,)` each, float64."""
    found = wrong_predictions(objective.loss, output, batch.targets)
    if found is None:
        counts = [objective.loss.count(one.targets) for one in batch.split(1)]
        each = torch.tensor(counts, dtype=torch.float64, device=objective.device)
        return each, torch.full_like(each, torch.nan)
    wrong, counted = (part.reshape(len(part), -1).double().sum(dim=1) for part in found)
    return counted, counted - wrong
