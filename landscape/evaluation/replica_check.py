"""Whether a copy of a model follows the weights that are put into it, or still refers to the original somewhere."""

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

AWAY = (0.1, 0.5)  # how far weights are moved, relative to their size; the second if the first hardly tells
PARTS = 16  # of the first micro-batch, whose losses are compared too: one sum alone may agree by chance
SAME = 1e-2  # of how far the loss moved: far above rounding, below what weights that stayed behind make of it
ROUNDING = 1e-6  # of a sum of float32 losses, relative


def tracks_weights(copied: Replica, vector: Tensor) -> bool:
    """Whether the copy's losses on all data are the model's at other weights and statistics.

    `vector` `(P,)` holds the copy's parameters, and is overwritten. A copy that fails follows nothing.
    """
    try:
        verdicts = (_compared(copied, vector, away) for away in AWAY)
        return next((verdict for verdict in verdicts if verdict is not None), False)
    except (LandscapeError, ValueError, TypeError):
        return False


def _compared(copied: Replica, vector: Tensor, away: float) -> bool | None:
    """None if the loss moves too little to tell."""
    objective = copied.objective
    _move(objective, vector, away)
    known, places = dict(objective.model.named_buffers()), dict(copied.model.named_buffers())
    own = {name: places[name].clone() for name in statistic_names(objective.model)}
    buffers = {name: known[name].to(vector) * (1 + away) + away for name in own}
    for name, values in buffers.items():
        places[name].copy_(values)
    state = {**objective.space.unflatten(vector), **buffers}
    here = _losses(objective, lambda batch: objective.batch_output(objective.theta, batch))
    there = _losses(objective, lambda batch: objective.batch_output(state, batch))
    followed = _losses(objective, copied.output)
    for name, values in own.items():
        places[name].copy_(values)
    moved, rounding = (there - here).abs().max(), ROUNDING * there.abs().max()
    if not bool(moved > rounding / SAME):
        return None
    return bool(((followed - there).abs() <= SAME * moved + rounding).all())


def _move(objective: Objective, vector: Tensor, away: float) -> None:
    """Puts weights into the vector that all differ from the model's, zeros too."""
    theta = objective.theta
    vector.copy_(seeds.normal(len(theta), theta, 0, "replica"))
    weights = objective.space.unflatten(theta)
    for name, noise in objective.space.unflatten(vector).items():
        noise.mul_(away * (float(weights[name].square().mean().sqrt()) or 1.0))
    vector.add_(theta)


def _losses(objective: Objective, output: Callable[[Batch], Any]) -> Tensor:
    """The summed losses of some small pieces, and of each micro-batch."""
    found = []
    with torch.no_grad():
        for number, piece in enumerate(forward_batches(objective, 0, channels_last=False)):
            small = [] if number else list(piece.split(max(1, piece.size // PARTS)))
            found += [objective.loss_total(output(part), part).double() for part in [*small, piece]]
    return torch.stack(found)
