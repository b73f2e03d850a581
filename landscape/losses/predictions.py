"""What a model predicts, where its loss is one of classes: right or wrong, and how far from the decision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.losses.loss import IGNORED, BinaryCrossEntropy, Loss, MeanSquaredError


def class_axis(loss: Loss, output: Any, target: Any) -> int | None:
    """The axis of the output that holds the classes; None for a loss without them."""
    find = getattr(loss, "class_axis", None)
    axis: int | None = find(output, target) if find and isinstance(output, Tensor) else None
    return axis


def binary(loss: Loss) -> bool:
    """Whether each output is the logit of one yes-or-no question."""
    inner = getattr(loss, "inner", loss)
    return isinstance(inner, BinaryCrossEntropy) or isinstance(getattr(inner, "module", None), nn.BCEWithLogitsLoss)


def has_classes(loss: Loss) -> bool:
    """Whether a loss is one of classes at all, whatever the model returns."""
    return binary(loss) or hasattr(getattr(loss, "inner", loss), "class_axis")


def error_counts(loss: Loss, output: Any, target: Any) -> tuple[Tensor, Tensor] | None:
    """How many of a batch's predictions are wrong, and of how many, `()` each; None for a loss without classes."""
    found = wrong_predictions(loss, output, target)
    return None if found is None else (found[0].sum(), found[1].sum())


def wrong_predictions(loss: Loss, output: Any, target: Any) -> tuple[Tensor, Tensor] | None:
    """Which predictions are wrong, and which count, in the labels' shape; None for a loss without classes."""
    if binary(loss):
        wrong = (output > 0) != (_labels(loss, target) > 0.5)
        return wrong, torch.ones_like(wrong)
    axis = class_axis(loss, output, target)
    if axis is None:
        return None
    labels = _labels(loss, target)
    if labels.is_floating_point():  # class probabilities
        labels = labels.argmax(dim=axis)
    counts = labels != _ignored(loss)
    return (output.argmax(dim=axis) != labels) & counts, counts


def label_mask(loss: Loss, output: Any, target: Any) -> Tensor | None:
    """Which labels count, in their shape; None for a loss that leaves none out."""
    labels = None if class_axis(loss, output, target) is None else _labels(loss, target)
    return None if labels is None or labels.is_floating_point() else labels != _ignored(loss)


def divergences(loss: Loss, before: Tensor, after: Tensor, target: Any) -> Tensor | None:
    """KL(before || after) of each sample's predictions, summed over what counts, `(N,)`, float64.

    The distributions are the loss' own: of classes, of a yes or no, or normal with variance 1/2 (mse). No labels are
    needed. None for another loss.
    """
    was, now = before.double(), after.double()
    axis = class_axis(loss, before, target)
    if axis is not None:
        chances = was.log_softmax(axis)
        apart = (chances.exp() * (chances - now.log_softmax(axis))).sum(axis)
        counts = label_mask(loss, before, target)
        apart = apart if counts is None else torch.where(counts, apart, 0.0)
    elif binary(loss):
        yes = was.sigmoid()
        sure, unsure = functional.logsigmoid(was) - functional.logsigmoid(now), functional.logsigmoid(-was)
        apart = yes * sure + (1 - yes) * (unsure - functional.logsigmoid(-now))
    elif quadratic(loss):
        apart = (was - now).square()
    else:
        return None
    return apart.reshape(len(apart), -1).sum(dim=1)


def quadratic(loss: Loss) -> bool:
    """Whether it is the squared error."""
    inner = getattr(loss, "inner", loss)
    return isinstance(inner, MeanSquaredError) or isinstance(getattr(inner, "module", None), nn.MSELoss)


def _ignored(loss: Loss) -> int:
    """The target that is left out."""
    inner = getattr(loss, "inner", loss)
    return int(getattr(getattr(inner, "module", None), "ignore_index", IGNORED))


def _labels(loss: Loss, target: Any) -> Tensor:
    scored = getattr(loss, "scored", None)
    labels: Tensor = scored(target) if scored else target
    return labels


def safe_radii(loss: Loss, output: Tensor, tangent: Tensor, target: Any) -> Tensor | None:
    """How far along a line each prediction's cross-entropy is sure to equal its Taylor series; one per prediction.

    The loss as a function of a complex step has its nearest singularity at least pi / (max a - min a) away, where the
    logits move by a per unit; with two classes exactly sqrt(delta^2 + pi^2) / |a_1 - a_0|, where delta is the
    difference of the logits ("Ghosts of softmax", arXiv 2603.13552). None for a loss that is no cross-entropy.
    """
    if binary(loss):
        return (output.double() ** 2 + torch.pi**2).sqrt().div(tangent.double().abs()).flatten()
    axis = class_axis(loss, output, target)
    if axis is None:
        return None
    logits, moves = output.double().movedim(axis, -1), tangent.double().movedim(axis, -1)
    apart = moves.amax(dim=-1) - moves.amin(dim=-1)
    gap = (logits[..., 0] - logits[..., 1]) if logits.shape[-1] == 2 else torch.zeros_like(apart)
    radii = (gap**2 + torch.pi**2).sqrt() / apart
    labels = _labels(loss, target)
    counted = torch.ones_like(radii, dtype=torch.bool) if labels.is_floating_point() else labels != _ignored(loss)
    return radii[counted]
