"""Gradients of queries, and inner products of each training sample's gradient with solutions, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.compute.inner_products import gram, row_norms
from landscape.data.batches import Batch
from landscape.errors import NumericalError, UsageError, listing
from landscape.evaluation.per_sample.gradients import CHUNK_BYTES, sample_gradients
from landscape.evaluation.per_sample.loss_sums import has_sample_losses, sample_loss_sums
from landscape.evaluation.per_sample.outcomes import gather_samples, require_separate_samples
from landscape.objective import Objective

SAMPLE_GRADIENTS = 2.0  # gradients that those of all samples one by one take: 1.2 (vmap) to 3 were measured


@dataclass(frozen=True)
class QueryGradients:
    """The right sides of the solves: gradients `(K, P)` of mean losses, and these losses `(K,)`."""

    rows: Tensor
    losses: np.ndarray


def without_decay(objective: Objective) -> Objective:
    """The objective whose losses are those of samples alone; weight decay belongs to the matrix."""
    return objective.variant(decay=None) if objective.decay else objective


def query_gradients(queries: Objective, *, each: bool) -> QueryGradients:
    """The gradient of each query's mean loss, or of the mean loss of all queries.

    Raises UsageError for a query that has no target that counts, and NumericalError for one that is not finite.
    """
    plain = without_decay(queries)
    require_separate_samples(plain)
    if not each:
        loss, gradient = plain.value_and_gradient()
        return _require_finite(QueryGradients(gradient.detach()[None], np.array([float(loss)])))
    losses, counts = losses_and_counts(plain).T
    if not bool((counts > 0).all()):
        places = listing([str(int(place)) for place in (counts <= 0).nonzero()])
        raise UsageError(
            f"of the samples that --query names, those at places {places} have no target that counts",
            fix="--query without them (places are counted from 0), or --no-each",
        )
    rows = gradient_rows(plain) / counts[:, None].to(plain.theta)
    return _require_finite(QueryGradients(rows, (losses / counts).cpu().numpy()))


def _require_finite(queries: QueryGradients) -> QueryGradients:
    """The same queries; raises NumericalError if a loss or a gradient is not finite."""
    require_finite_gradients(row_norms(queries.rows).cpu().numpy() + queries.losses, "the samples that --query names")
    return queries


def require_finite_gradients(sizes: np.ndarray, name: str) -> None:
    """Raises NumericalError, with the places of the samples called `name`, if sizes `(N,)` are not all finite."""
    places = np.flatnonzero(~np.isfinite(sizes))
    if len(places):
        where = f" at places {listing([str(place) for place in places])}" if len(sizes) > 1 else ""
        raise NumericalError(
            f"losses or gradients of {name} are not finite{where}",
            why="NaN or infinity in these samples, or numbers that are too large for the precision",
            fix="leave them out (places are counted from 0), or --dtype float64",
        )


def losses_and_counts(objective: Objective) -> Tensor:
    """Each sample's summed loss, and the number of terms that it counts, `(N, 2)`, float64.

    Samples of a model that returns a loss, or anything else without an axis of samples, pass one by one.
    """
    if has_sample_losses(objective):
        return sample_loss_sums(objective, objective.theta)

    def kernel(batch: Batch) -> Tensor:
        """The losses and counts of one batch."""
        samples = list(batch.split(1))
        with torch.no_grad():
            losses = torch.stack([objective.batch_total(objective.theta, one) for one in samples])
        counts = [objective.batch_count(one) for one in samples]
        return torch.stack([losses.double(), losses.new_tensor(counts, dtype=torch.float64)], dim=1)

    return gather_samples(objective, kernel)


def gradient_rows(objective: Objective) -> Tensor:
    """The gradients of the summed losses of all samples of a small objective, `(N, P)`."""

    def kernel(batch: Batch) -> Tensor:
        """The gradients of one batch at their samples' places."""
        whole = objective.theta.new_zeros((objective.batches.samples, objective.space.size))
        first = batch.first
        for rows in chunks_of_gradients(objective, batch):
            whole[first : first + len(rows)] = rows
            first += len(rows)
        return whole

    return objective.accumulate(kernel)


def chunks_of_gradients(objective: Objective, batch: Batch) -> Iterator[Tensor]:
    """The gradients of a batch's samples, `(n, P)`, by as many as there is room for."""
    for piece in batch.split(max(1, CHUNK_BYTES // max(objective.theta.nbytes, 1))):
        yield sample_gradients(objective, piece).detach()


def inner_products(objective: Objective, columns: Tensor) -> Tensor:
    """g_t'x of each training sample's gradient with each column x of `(P, M)`, and |g_t|^2: `(N, M + 1)`, float64."""
    return score_rows(objective, lambda rows: gram(rows, columns.T))


def score_rows(objective: Objective, score: Callable[[Tensor], Tensor]) -> Tensor:
    """What `score` returns for gradients `(n, P)`, `(n, M)`, for all samples, and |g_t|^2: `(N, M + 1)`, float64."""

    def kernel(batch: Batch) -> Tensor:
        """The scores of one batch's samples."""
        parts = []
        for rows in chunks_of_gradients(objective, batch):
            parts.append(torch.cat([score(rows), row_norms(rows)[:, None] ** 2], dim=1))
        return torch.cat(parts)

    return gather_samples(objective, kernel)
