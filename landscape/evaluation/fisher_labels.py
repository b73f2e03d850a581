"""Scalars whose gradients' outer products add up to a Fisher matrix: the loss with labels drawn, given, or in the mean.

With labels from the model's own distribution that is the Fisher matrix, with the data's the empirical one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from landscape import seeds
from landscape.choices import Labels
from landscape.data.batches import Batch
from landscape.errors import TaskError, UsageError
from landscape.losses.protocol import Loss, is_likelihood, no_likelihood
from landscape.objective import Objective

EXACT_PASSES = 32  # up to which the expectation over labels is taken if nothing is asked: ten classes take ten


def draw_labels(objective: Objective, output: Tensor, batch: Batch, seed: int, draw: int) -> Any:
    """Targets drawn from the model's own distribution, which depend on the seed and each sample's place alone."""
    loss = objective.loss
    if not is_likelihood(loss):
        raise no_likelihood(loss.name)
    if not isinstance(output, Tensor):
        raise TaskError(
            "the Fisher matrix needs a model with one output tensor", fix="--operator ggn, or --labels gold"
        )
    uniform: Callable[[tuple[int, ...]], Tensor] = lambda shape: seeds.uniform(  # noqa: E731
        batch.first, shape, output, seed, "labels", draw
    )
    return loss.sample(output.detach(), batch.targets, uniform)


def choose_labels(objective: Objective, labels: Labels | None) -> Labels:
    """The way of labelling: as asked, else the exact expectation where it takes few passes.

    Raises TaskError if labels are to be drawn and the loss is no likelihood.
    """
    if labels in ("gold", "exact"):
        return labels
    output, batch = _first(objective)
    few = isinstance(output, Tensor) and objective.loss.structure.canonical_link and output[0].numel() <= EXACT_PASSES
    if labels is None and few:
        return "exact"
    try:
        draw_labels(objective, output, batch, 0, 0)
    except TaskError:
        raise no_likelihood(objective.loss.name, "--labels gold") from None
    return "sampled"


def model_labels(objective: Objective, labels: Labels) -> Labels:
    """Labels of the model's own distribution, also where the data's were asked for; these if there is none."""
    known = labels != "gold" or not is_likelihood(objective.loss)
    return labels if known else choose_labels(objective, None)


def backward_passes(objective: Objective, labels: Labels, draws: int) -> int:
    """Backward passes for each forward pass; raises UsageError if no exact expectation is known."""
    if labels == "exact":
        output, _ = _first(objective)
        if not isinstance(output, Tensor) or not objective.loss.structure.canonical_link:
            fix = "--labels sampled, or gold" if is_likelihood(objective.loss) else "--labels gold"
            raise UsageError(f"--labels exact does not know loss {objective.loss.name}", fix=fix)
        return output[0].numel()
    return draws if labels == "sampled" else 1


def scalars(objective: Objective, output: Any, batch: Batch, labels: Labels, draws: int, seed: int) -> Iterator[Tensor]:
    """Scalars, differentiable in the output, one for each backward pass; the outer products of their slopes are added.

    `gold` takes the data's labels, `sampled` draws labels from the model (each draw weighs 1 / draws), `exact` takes
    the expectation over all labels: roots of the loss' Hessian in each sample's output.
    """
    if labels == "gold":
        yield objective.loss_total(output, batch)
    elif labels == "sampled":
        for draw in range(draws):
            yield objective.loss_total(output, batch, draw_labels(objective, output, batch, seed, draw)) / draws**0.5
    else:
        for root in _roots(objective.loss, output.detach(), batch.targets):
            yield (output * root).sum()


def _first(objective: Objective) -> tuple[Any, Batch]:
    """The first sample's output and batch."""
    first = next(iter(objective.first(1).batches))
    with torch.no_grad():
        return objective.batch_output(objective.theta, first), first


def _roots(loss: Loss, output: Tensor, target: Any) -> Iterator[Tensor]:
    """Tensors r of the output's shape: the sum of r r' over them is each sample's Hessian of the loss in its output."""
    structure = loss.structure
    axis = structure.axis(output, target)
    if axis is None:
        scale = (
            (output.sigmoid() * (1 - output.sigmoid())).sqrt()
            if structure.kind == "binary"
            else torch.full_like(output, 2**0.5)
        )
        for place in range(output[0].numel()):
            root = torch.zeros_like(output)
            root.view(len(output), -1)[:, place] = scale.reshape(len(output), -1)[:, place]
            yield root
        return
    chances = output.movedim(axis, -1).softmax(-1).contiguous()
    mask = structure.label_mask(output, target)
    for position in range(chances[0, ..., 0].numel()):
        for label in range(chances.shape[-1]):
            rooted = torch.zeros_like(chances)
            p, r = (tensor.view(len(output), -1, chances.shape[-1])[:, position] for tensor in (chances, rooted))
            r -= p * p[:, label, None].sqrt()
            r[:, label] += p[:, label].sqrt()
            if mask is not None:
                rooted *= mask[..., None]
            yield rooted.movedim(-1, axis)
