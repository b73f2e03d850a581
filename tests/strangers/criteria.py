"""Losses: weighted, smoothed, masked, ranked, of overlaps, of sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stateful import BATCH, SAMPLES
from strangers.stranger import (
    Problem,
    bring,
    classes,
    cross_entropy_terms,
    integers,
    net,
    numbers,
    ragged,
)

WEIGHTS = torch.tensor([1.0, 5.0, 0.2])


def sorted_classes() -> list[tuple[Tensor, ...]]:
    """Samples sorted by class."""
    x, y = classes()
    order = y.argsort(stable=True)
    return ragged(x[order], y[order])


def weighted_terms(output: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """The weighted sum, with the sum of weights as its count."""
    weights = WEIGHTS.to(output.dtype)
    return functional.cross_entropy(output, target, weight=weights, reduction="sum"), float(weights[target].sum())


@bring(
    "class weights in a function",
    "unbalanced classes, data sorted by class",
    clause="C4",
    alone=False,
    cannot=SAMPLES,
    says=BATCH,
)
def _() -> Problem:
    return net(), sorted_classes(), lambda o, t: functional.cross_entropy(o, t, weight=WEIGHTS.to(o.dtype))


@bring("CrossEntropyLoss(weight=)", "unbalanced classes", clause="C8", terms=weighted_terms)
def _() -> Problem:
    return net(), sorted_classes(), nn.CrossEntropyLoss(weight=WEIGHTS)


def weighted_nll_terms(output: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """The same of log-probabilities."""
    weights = WEIGHTS.to(output.dtype)
    return functional.nll_loss(output, target, weight=weights, reduction="sum"), float(weights[target].sum())


@bring("NLLLoss(weight=)", "older classifiers", clause="C8", terms=weighted_nll_terms)
def _() -> Problem:
    return net(3, nn.LogSoftmax(1)), sorted_classes(), nn.NLLLoss(weight=WEIGHTS)


@bring("NLLLoss", "log-softmax in the model", terms=lambda o, t: (functional.nll_loss(o, t, reduction="sum"), len(t)))
def _() -> Problem:
    return net(3, nn.LogSoftmax(1)), ragged(*classes()), nn.NLLLoss()


def positive_terms(output: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """Binary cross-entropy with 3 for the positive ones."""
    value = functional.binary_cross_entropy_with_logits(
        output, target, pos_weight=torch.tensor(3.0, dtype=output.dtype), reduction="sum"
    )
    return value, target.numel()


@bring("pos_weight", "rare positives", clause="C8", terms=positive_terms)
def _() -> Problem:
    x, y = classes(count=2)
    return net(1), ragged(x, y[:, None].float()), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))


class Smoothed(nn.Module):
    """No parameters, only a choice."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target, label_smoothing=0.2)


@bring(
    "label smoothing",
    "CrossEntropyLoss(label_smoothing=)",
    terms=lambda o, t: (functional.cross_entropy(o, t, label_smoothing=0.2, reduction="sum"), len(t)),
)
def _() -> Problem:
    return net(), ragged(*classes()), nn.CrossEntropyLoss(label_smoothing=0.2)


@bring("label smoothing in a module", "a criterion of one's own")
def _() -> Problem:
    return net(), ragged(*classes()), Smoothed()


@bring(
    "ignored targets come late",
    "a function's mean over targets that count",
    clause="C8",
    alone=False,
    cannot=SAMPLES,
    says=BATCH,
)
def _() -> Problem:
    x, y = classes()
    y[10:18] = -100
    return net(), ragged(x, y), lambda o, t: functional.cross_entropy(o, t)


@bring("ignored targets", "torch's module leaves them out", terms=cross_entropy_terms)
def _() -> Problem:
    x, y = classes()
    y[10:18] = -100
    return net(), ragged(x, y), nn.CrossEntropyLoss()


@bring("focal loss", "detectors", cannot=())
def _() -> Problem:
    def focal(output: Tensor, target: Tensor) -> Tensor:
        log = output.log_softmax(-1).gather(1, target[:, None])[:, 0]
        return -((1 - log.exp()) ** 2) * log

    return net(), ragged(*classes()), focal


@bring("Dice over the batch", "segmentation of unbalanced pixels", clause="C4", alone=False, cannot=SAMPLES, says=BATCH)
def _() -> Problem:
    def dice(output: Tensor, target: Tensor) -> Tensor:
        share = output.sigmoid()
        return 1 - (2 * (share * target).sum() + 1) / (share.sum() + target.sum() + 1)

    return net(4), ragged(numbers(23, 5), integers(2, 23, 4).float()), dice


@bring("Dice of each sample", "segmentation, one loss a sample")
def _() -> Problem:
    def dice(output: Tensor, target: Tensor) -> Tensor:
        share = output.sigmoid()
        return 1 - (2 * (share * target).sum(1) + 1) / (share.sum(1) + target.sum(1) + 1)

    return net(4), ragged(numbers(23, 5), integers(2, 23, 4).float()), dice


@bring(
    "ranking of pairs",
    "recommenders that compare within the batch",
    clause="C4",
    alone=False,
    cannot=SAMPLES,
    says=BATCH,
)
def _() -> Problem:
    def ranking(output: Tensor, target: Tensor) -> Tensor:
        gap = output - output.T
        return functional.softplus(-gap)[(target > target.T)].mean()

    return net(1), ragged(numbers(23, 5), numbers(23, 1, seed=3)), ranking


@bring(
    "CTC",
    "speech: torch has no second derivative of it",
    expect="said",
    derivatives="gradients",
    terms=lambda o, t: (ctc(o, t) * len(t), len(t)),
)
def _() -> Problem:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4))
    return model, ragged(numbers(12, 6, 3), 1 + integers(3, 12, 2), sizes=(5, 5, 2)), ctc


def ctc(output: Tensor, target: Tensor) -> Tensor:
    """The mean over samples of the connectionist loss, not divided by lengths."""
    steps, size = output.shape[1], len(output)
    value = functional.ctc_loss(
        output.transpose(0, 1).log_softmax(-1),
        target,
        torch.full((size,), steps),
        torch.full((size,), target.shape[1]),
        reduction="none",
    )
    return value.mean()
