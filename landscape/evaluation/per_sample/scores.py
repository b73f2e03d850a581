"""How each sample stands out: its loss, the square of its gradient, and the change under an edit; no loop over samples.

With a and g a linear layer's inputs and output gradients over a sample's tokens, the gradient of its weight is
sum_t g_t a_t', whose square is ||g||^2 ||a||^2 for one token and sum_ts (g_t'g_s)(a_t'a_s) for several.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.evaluation import fisher_labels
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.layer_io import CapturedForward, LayerCapture
from landscape.evaluation.per_sample.outcomes import gather_samples, sample_counts, sample_losses, sample_outcomes
from landscape.evaluation.per_sample.own_gradients import outer_squares
from landscape.losses.predictions import divergences
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective
from landscape.objective.model_function import Theta


def mean_losses(objective: Objective, theta: Tensor) -> Tensor:
    """Each sample's mean loss `(N,)`, float64."""
    return sample_outcomes(objective, theta).means


def gradient_squares(
    objective: Objective, layers: Sequence[LinearMap], settings: FactorSettings, theta: Tensor
) -> Tensor:
    """Columns `(N, 2)`, float64: ||grad||^2 of each sample's mean loss in the layers' weights, and its Fisher trace.

    The trace takes the labels of `settings`; it is NaN for the data's own labels, `gold`. Raises TaskError for a layer
    whose rows cannot be assigned to samples.
    """
    capture, has_trace = LayerCapture(objective, layers), settings.labels != "gold"
    passes = fisher_labels.backward_passes(objective, settings.labels, settings.draws)

    def kernel(batch: Batch) -> Tensor:
        forward = capture.run(batch, theta)
        inputs = _inputs(forward, batch.size)
        own = _squares(forward, inputs, objective.loss_total(forward.output, batch), keep_graph=has_trace)
        if not has_trace:
            return torch.stack([own, torch.full_like(own, torch.nan)], dim=1)
        totals = fisher_labels.scalars(objective, forward.output, batch, settings.labels, settings.draws, settings.seed)
        trace = torch.zeros_like(own)
        for number, total in enumerate(totals):
            trace += _squares(forward, inputs, total, keep_graph=number + 1 < passes)
        return torch.stack([own, trace], dim=1)

    counts = sample_outcomes(objective, theta).counts
    return gather_samples(objective, kernel) / counts[:, None] ** 2


def edit_effects(objective: Objective, theta: Theta) -> Tensor:
    """Columns `(N, 2)`, float64: each sample's rise of the mean loss, and divergence of predictions, in an edit.

    The edit changes the weights to theta. The divergence is that of the predictions at theta from those before, and
    needs no labels; NaN for a loss without a known distribution.
    """

    def kernel(batch: Batch) -> Tensor:
        with torch.no_grad():
            before, after = (objective.batch_output(point, batch) for point in (objective.theta, theta))
            was, now = (sample_losses(objective, output, batch).double() for output in (before, after))
            counts, _ = sample_counts(objective, before, batch)
        tensors = isinstance(before, Tensor)
        divergence = divergences(objective.loss, before, after, batch.targets) if tensors else None
        if divergence is not None and batch.unit:
            divergence = divergence.sum()[None]
        divergence = torch.full_like(was, torch.nan) if divergence is None else divergence
        return torch.stack([now / counts - was / counts, divergence / counts], dim=1)

    return gather_samples(objective, kernel)


def _inputs(forward: CapturedForward[LinearMap], samples: int) -> list[Tensor | None]:
    """Each layer's inputs `(samples, T, q)`; None for a layer that was not called."""
    return [
        torch.cat([_by_sample(call.rows, samples, call.axis) for call in calls], dim=1) if calls else None
        for calls in forward.calls
    ]


def _squares(
    forward: CapturedForward[LinearMap], inputs: Sequence[Tensor | None], total: Tensor, *, keep_graph: bool
) -> Tensor:
    """The square of each sample's gradient of a sum over samples, in the layers' weights, `(n,)`, float64."""
    samples = forward.batch.size
    squares = torch.zeros(samples, dtype=torch.float64, device=total.device)
    for rows, gradients in zip(inputs, forward.gradients(total, keep_graph=keep_graph), strict=True):
        if rows is not None:
            whole = torch.cat([_by_sample(part, samples) for part in gradients], dim=1)
            squares += outer_squares(rows, whole[None])[0]
    return squares


def _by_sample(rows: Tensor, samples: int, axis: int | None = 0) -> Tensor:
    """Rows `(samples, T, k)`, also of a model that folds tokens into the first axis."""
    if len(rows) % samples or axis is None:
        raise TaskError(
            f"a layer has {len(rows)} rows for {samples} samples: which row belongs to which sample is not known",
            fix="--no-scores, or --layers without it",
        )
    return rows.reshape(samples, -1, rows.shape[-1])
