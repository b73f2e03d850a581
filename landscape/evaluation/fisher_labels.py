"""Scalars whose gradients' outer products add up to a Fisher matrix.

The gradients are those of the loss with labels from the model's own distribution (drawn, or in expectation) for the
Fisher matrix, or with the data's own labels for the empirical Fisher matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from landscape import seeds
from landscape.choices import Labels
from landscape.data.batches import Batch
from landscape.errors import TaskError, UsageError
from landscape.losses.protocol import Loss, is_likelihood, no_likelihood
from landscape.objective import Objective

MAX_EXACT_PASSES = 32  # backward passes for which the exact expectation is the default: ten classes take ten


def draw_labels(objective: Objective, output: Tensor, batch: Batch, seed: int, draw: int) -> Any:
    """Targets drawn from the model's own distribution; they depend on the seed and each sample's place in the data.

    Raises TaskError for a loss that is no likelihood, or a model with several output tensors.
    """
    loss = objective.loss
    if not is_likelihood(loss):
        raise no_likelihood(loss.name)
    if not isinstance(output, Tensor):
        raise TaskError(
            "the Fisher matrix needs a model with one output tensor", fix="--operator ggn, or --labels gold"
        )

    def uniform(shape: tuple[int, ...]) -> Tensor:
        """Uniform numbers in (0, 1) of that shape, which depend on the samples' places alone."""
        if batch.unit:  # its rows are not at places of their own in the data
            return seeds.uniform(0, shape, output, seed, "labels", draw, "unit", batch.first)
        return seeds.uniform(batch.first, shape, output, seed, "labels", draw)

    return loss.sample(output.detach(), batch.targets, uniform)


def choose_labels(objective: Objective, labels: Labels | None) -> Labels:
    """The kind of labels: the given one, else `exact` if it takes few passes, else `sampled`.

    Raises TaskError if labels are to be drawn and the loss is no likelihood.
    """
    if labels in ("gold", "exact"):
        return labels
    output, batch = _first_output(objective)
    exact = objective.loss.structure.canonical_link and isinstance(output, Tensor) and batch.divisible
    if labels is None and exact and output[0].numel() <= MAX_EXACT_PASSES:
        return "exact"
    try:
        draw_labels(objective, output, batch, 0, 0)
    except TaskError:
        raise no_likelihood(objective.loss.name, "--labels gold") from None
    return "sampled"


def model_labels(objective: Objective, labels: Labels) -> Labels:
    """Labels of the model's own distribution, also in place of `gold`; `gold` for a loss that is no likelihood."""
    replaceable = labels == "gold" and is_likelihood(objective.loss)
    return choose_labels(objective, None) if replaceable else labels


def backward_passes(objective: Objective, labels: Labels, draws: int) -> int:
    """Backward passes for each forward pass; raises UsageError if no exact expectation is known."""
    if labels == "exact":
        output, batch = _first_output(objective)
        if batch.unit:
            raise UsageError(
                "--labels exact needs samples that do not depend on each other",
                why=f"each batch is one unit: {batch.unit}",
                fix="--labels sampled, or gold",
            )
        if not isinstance(output, Tensor) or not objective.loss.structure.canonical_link:
            fix = "--labels sampled, or gold" if is_likelihood(objective.loss) else "--labels gold"
            raise UsageError(f"--labels exact does not know loss {objective.loss.name}", fix=fix)
        return output[0].numel()
    return draws if labels == "sampled" else 1


def scalars(objective: Objective, output: Any, batch: Batch, labels: Labels, draws: int, seed: int) -> Iterator[Tensor]:
    """One scalar for each backward pass, differentiable in the output; the Fisher matrix adds their gradients' squares.

    `gold` takes the data's labels. `sampled` draws labels from the model; each draw weighs 1 / draws. `exact` takes the
    expectation over all labels by square roots of the loss's Hessian in each sample's output.
    """
    if labels == "gold":
        yield objective.loss_total(output, batch)
    elif labels == "sampled":
        for draw in range(draws):
            yield objective.loss_total(output, batch, draw_labels(objective, output, batch, seed, draw)) / draws**0.5
    else:
        for root in hessian_roots(objective.loss, output.detach(), batch.targets):
            yield (output * root).sum()


def hessian_roots(loss: Loss, output: Tensor, target: Any) -> Iterator[Tensor]:
    """Tensors r of the output's shape: the sum of r r' over them is each sample's Hessian of the loss in its output.

    `loss` has the canonical link.
    """
    structure = loss.structure
    axis = structure.axis(output, target)
    if axis is None:
        binary = structure.kind == "binary"
        scale = (output.sigmoid() * (1 - output.sigmoid())).sqrt() if binary else torch.full_like(output, 2**0.5)
        yield from _diagonal_roots(scale)
    else:
        yield from _softmax_roots(output.movedim(axis, -1), axis, structure.label_mask(output, target))


def _diagonal_roots(scale: Tensor) -> Iterator[Tensor]:
    """The columns of diag(scale) for each sample, one entry of the output at a time."""
    scale = scale.contiguous()  # a permuted output has no view by samples
    for entry in range(scale[0].numel()):
        root = torch.zeros_like(scale)
        root.view(len(scale), -1)[:, entry] = scale.reshape(len(scale), -1)[:, entry]
        yield root


def _softmax_roots(logits: Tensor, axis: int, mask: Tensor | None) -> Iterator[Tensor]:
    """sqrt(p_c) (e_c - p) for each prediction and class c, with classes along `axis`; 0 outside the mask."""
    probabilities = logits.softmax(-1).contiguous()
    samples, classes = len(probabilities), probabilities.shape[-1]
    for position in range(probabilities[0, ..., 0].numel()):
        for label in range(classes):
            root = torch.zeros_like(probabilities)
            p, r = (tensor.view(samples, -1, classes)[:, position] for tensor in (probabilities, root))
            r -= p * p[:, label, None].sqrt()
            r[:, label] += p[:, label].sqrt()
            if mask is not None:
                root *= mask[..., None]
            yield root.movedim(-1, axis)


def _first_output(objective: Objective) -> tuple[Any, Batch]:
    """The first sample's output, and its batch."""
    first = next(iter(objective.first(1).batches))
    with torch.no_grad():
        return objective.batch_output(objective.theta, first), first
