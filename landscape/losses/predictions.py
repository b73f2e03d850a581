"""What a model predicts: right or wrong, how far from the decision, and how two models' predictions differ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from landscape.losses.protocol import Loss


def error_counts(loss: Loss, output: Any, target: Any) -> tuple[Tensor, Tensor] | None:
    """How many of a batch's predictions are wrong, and of how many, `()` each; None for a loss without classes."""
    judged = wrong_predictions(loss, output, target)
    return None if judged is None else (judged[0].sum(), judged[1].sum())


def wrong_predictions(loss: Loss, output: Any, target: Any) -> tuple[Tensor, Tensor] | None:
    """Which predictions are wrong, and which count, in the labels' shape; None for a loss without classes."""
    structure = loss.structure
    if structure.kind == "binary":
        wrong = (output > 0) != (structure.labels(target) > 0.5)
        return wrong, torch.ones_like(wrong)
    axis = structure.axis(output, target)
    if axis is None:
        return None
    labels = structure.labels(target)
    if labels.is_floating_point():  # class probabilities
        labels = labels.argmax(dim=axis)
    counts = labels != structure.ignore_index
    return (output.argmax(dim=axis) != labels) & counts, counts


def divergences(loss: Loss, before: Tensor, after: Tensor, target: Any) -> Tensor | None:
    """KL(before || after) of each sample's predictions, summed over the labels that count, `(N,)`, float64.

    The distributions are the loss's own: over classes, over yes and no, or normal with variance 1/2 (mse). None for
    another loss.
    """
    was, now = before.double(), after.double()
    kind, axis = loss.structure.kind, loss.structure.axis(before, target)
    if axis is not None:
        logarithms = was.log_softmax(axis)
        divergence = (logarithms.exp() * (logarithms - now.log_softmax(axis))).sum(axis)
        mask = loss.structure.label_mask(before, target)
        divergence = divergence if mask is None else torch.where(mask, divergence, 0.0)
    elif kind == "binary":
        yes = was.sigmoid()
        if_yes, if_no = functional.logsigmoid(was) - functional.logsigmoid(now), functional.logsigmoid(-was)
        divergence = yes * if_yes + (1 - yes) * (if_no - functional.logsigmoid(-now))
    elif kind == "squared_error":
        divergence = (was - now).square()
    else:
        return None
    return divergence.reshape(len(divergence), -1).sum(dim=1)


def safe_radii(loss: Loss, output: Tensor, tangent: Tensor, target: Any) -> Tensor | None:
    """How far along a line each prediction's cross-entropy is sure to equal its Taylor series; one per prediction.

    The loss as a function of a complex step has its nearest singularity at least pi / (max a - min a) away, where the
    logits move by a per unit; with two classes exactly sqrt(delta^2 + pi^2) / |a_1 - a_0|, where delta is the
    difference of the logits ("Ghosts of softmax", arXiv 2603.13552). None for a loss that is no cross-entropy.
    """
    structure = loss.structure
    if structure.kind == "binary":
        return (output.double() ** 2 + torch.pi**2).sqrt().div(tangent.double().abs()).flatten()
    axis = structure.axis(output, target)
    if axis is None:
        return None
    logits, moves = output.double().movedim(axis, -1), tangent.double().movedim(axis, -1)
    spread = moves.amax(dim=-1) - moves.amin(dim=-1)
    gap = (logits[..., 0] - logits[..., 1]) if logits.shape[-1] == 2 else torch.zeros_like(spread)
    radii = (gap**2 + torch.pi**2).sqrt() / spread
    mask = structure.label_mask(output, target)
    return radii[torch.ones_like(radii, dtype=torch.bool) if mask is None else mask]
