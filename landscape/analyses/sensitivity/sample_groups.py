"""Groups of consecutive samples, whose scatter tells the error of a mean, and the losses of samples or groups."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.estimators.resampling import group_ends
from landscape.data.batches import Batch
from landscape.evaluation.per_sample.loss_sums import has_sample_losses
from landscape.evaluation.per_sample.outcomes import gather_samples, sample_losses
from landscape.losses.terms import TermsLoss
from landscape.objective import Objective


@dataclass(frozen=True)
class SampleGroups:
    """The data in groups that end before the positions `cuts`, and in units, each a sample or a whole group.

    `counts` `(U,)` are the terms of the loss in each unit, `first_units` `(G,)` the first unit of each group.
    """

    cuts: tuple[int, ...]
    counts: np.ndarray
    first_units: np.ndarray
    by_sample: bool

    @property
    def group_counts(self) -> np.ndarray:
        """The terms of the loss in each group, `(G,)`."""
        return self.by_group(self.counts)

    def by_group(self, values: np.ndarray) -> np.ndarray:
        """The sums over the units of each group, `(U,) -> (G,)`."""
        sums: np.ndarray = np.add.reduceat(values, self.first_units)
        return sums


def sample_groups(objective: Objective, most: int) -> SampleGroups:
    """At most so many groups, as equal as possible; whole batches where the loss depends on where these end.

    Samples are units where each has a loss of its own that follows from its output.
    """
    cuts = _cuts(objective, most)
    if not isinstance(objective.loss, TermsLoss) and has_sample_losses(objective):
        return SampleGroups(cuts, _sample_counts(objective), np.array([0, *cuts]), by_sample=True)
    counts = _group_sums(objective, cuts, lambda piece: torch.tensor(objective.batch_count(piece)))
    return SampleGroups(cuts, counts, np.arange(len(counts)), by_sample=False)


def unit_losses(objective: Objective, theta: Tensor, groups: SampleGroups) -> np.ndarray:
    """The summed loss of each unit at theta `(P,)`, with weight decay: `(U,)`, float64."""
    if not groups.by_sample:
        return _group_sums(objective, groups.cuts, lambda piece: _total(objective, theta, piece))

    def kernel(batch: Batch) -> Tensor:
        """The losses of the samples of one batch, `(n, 1)`."""
        with torch.no_grad():
            return sample_losses(objective, objective.batch_output(theta, batch), batch)[:, None]

    losses: np.ndarray = gather_samples(objective, kernel)[:, 0].cpu().numpy()
    return losses + groups.counts * float(objective.decay.penalty(theta)) if objective.decay else losses


def _cuts(objective: Objective, most: int) -> tuple[int, ...]:
    if not objective.as_given:
        samples = objective.batches.samples
        return tuple(group_ends(samples, min(most, samples)))
    firsts = [batch.first for batch in objective.batches]
    return tuple(firsts[place] for place in group_ends(len(firsts), min(most, len(firsts))))


def _sample_counts(objective: Objective) -> np.ndarray:
    """The terms of the loss of each sample, `(N,)`."""

    def kernel(batch: Batch) -> Tensor:
        """The counts of the samples of one batch, `(n, 1)`."""
        numbers = [objective.batch_count(one) for one in batch.split(1)]
        return torch.tensor(numbers, dtype=torch.float64, device=objective.device)[:, None]

    counts: np.ndarray = gather_samples(objective, kernel)[:, 0].cpu().numpy()
    return counts


def _total(objective: Objective, theta: Tensor, piece: Batch) -> Tensor:
    with torch.no_grad():
        return objective.batch_total(theta, piece)


def _group_sums(objective: Objective, cuts: tuple[int, ...], total: Callable[[Batch], Tensor]) -> np.ndarray:
    """The sums of `total` of a piece of a batch over each group, `(G,)`, float64."""

    def kernel(batch: Batch) -> Tensor:
        """The sums of one batch at the places of its groups."""
        sums = torch.zeros(len(cuts) + 1, dtype=torch.float64, device=objective.device)
        for piece in batch.cut(cuts):
            sums[bisect_right(cuts, piece.first)] += total(piece)
        return sums

    found: np.ndarray = objective.accumulate(kernel).cpu().numpy()
    return found
