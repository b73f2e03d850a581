"""Whether a copy of a model computes with the weights that are put into it, or still uses the original's somewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape import seeds
from landscape.data.batches import Batch
from landscape.errors import LandscapeError
from landscape.evaluation.forward_batches import forward_batches
from landscape.network.batch_norm import statistic_names
from landscape.objective import Objective, Replica

PERTURBATIONS = (0.1, 0.5)  # of the weights, relative to their size; the second if the first hardly moves the loss
SMALL_PIECES = 16  # of the first micro-batch, whose losses are compared too: one sum alone may agree by chance
TRACKING_RTOL = 1e-2  # of the loss's move: far above rounding, below the difference that an original weight makes
ROUNDING_RTOL = 1e-6  # of a sum of float32 losses


def tracks_weights(replica: Replica, vector: Tensor) -> bool:
    """Whether the copy's losses on all data are the model's at other weights and running statistics.

    `vector` `(P,)` holds the copy's parameters, and is overwritten. False for a copy that fails.
    """
    try:
        verdicts = (_agrees(replica, vector, size) for size in PERTURBATIONS)
        return next((verdict for verdict in verdicts if verdict is not None), False)
    except (LandscapeError, ValueError, TypeError):
        return False


def _agrees(replica: Replica, vector: Tensor, size: float) -> bool | None:
    """Whether copy and model have the same losses at perturbed weights; None if the loss moves too little to tell."""
    objective = replica.objective
    _perturb(objective, vector, size)
    originals, copies = dict(objective.model.named_buffers()), dict(replica.model.named_buffers())
    saved = {name: copies[name].clone() for name in statistic_names(objective.model)}
    buffers = {name: originals[name].to(vector) * (1 + size) + size for name in saved}
    for name, values in buffers.items():
        copies[name].copy_(values)
    state = {**objective.space.unflatten(vector), **buffers}
    before = _losses(objective, lambda batch: objective.losses_or_output(objective.theta, batch))
    after = _losses(objective, lambda batch: objective.losses_or_output(state, batch))
    copied = _losses(objective, replica.output)
    for name, values in saved.items():
        copies[name].copy_(values)
    moved, rounding = (after - before).abs().max(), ROUNDING_RTOL * after.abs().max()
    if not bool(moved > rounding / TRACKING_RTOL):
        return None
    return bool(((copied - after).abs() <= TRACKING_RTOL * moved + rounding).all())


def _perturb(objective: Objective, vector: Tensor, size: float) -> None:
    """Fills the vector with weights that all differ from the model's, zeros too."""
    theta = objective.theta
    seeds.fill_normal(vector, 0, "replica")
    weights = objective.space.unflatten(theta)
    for name, noise in objective.space.unflatten(vector).items():
        noise.mul_(size * (float(weights[name].square().mean().sqrt()) or 1.0))
    vector.add_(theta)


def _losses(objective: Objective, output: Callable[[Batch], Any]) -> Tensor:
    """The summed losses of some small pieces of the first micro-batch, and of each micro-batch."""
    losses = []
    with torch.no_grad():
        for number, batch in enumerate(forward_batches(objective, 0, channels_last=False)):
            small = [] if number else list(batch.split(max(1, batch.size // SMALL_PIECES)))
            losses += [objective.loss_total(output(part), part).double() for part in [*small, batch]]
    return torch.stack(losses)
