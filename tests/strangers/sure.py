"""Nets that are sure of their predictions: losses near 0, of which rounding leaves few digits or none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.objectives import by_sample, mean_of
from strangers.stranger import Problem, binary_terms, bring, cross_entropy_terms, numbers, ragged, squared_terms

SAMPLES, SIZES = 64, (25, 25, 14)


def sure_net(scale: float, outputs: int = 4) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A net whose logits are as large as the scale, samples, and outputs."""
    torch.manual_seed(3)
    x = numbers(SAMPLES, 5)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, outputs))
    with torch.no_grad():
        model[2].weight *= scale
        model[2].bias *= scale
        return model, x, model(x)


def own_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """A mean over the batch, as most people write it."""
    return functional.cross_entropy(output, target)


def nll_terms(output: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """The sum of negative log-likelihoods."""
    return functional.nll_loss(output, target, reduction="sum"), float(len(target))


@bring("sure classifier", "nets that were trained until nothing was left to learn", terms=cross_entropy_terms)
def _() -> Problem:
    model, x, output = sure_net(300)
    return model, ragged(x, output.argmax(1), sizes=SIZES), "cross_entropy"


@bring("sure classifier, own loss", "the same under one's own loss", terms=cross_entropy_terms)
def _() -> Problem:
    model, x, output = sure_net(300)
    hardest = output.topk(2).values.diff(dim=1)[:, 0].argsort(descending=True)
    order = torch.cat([hardest[:1], hardest[1:].flip(0)])
    return model, ragged(x[order], output.argmax(1)[order], sizes=SIZES), own_cross_entropy


@bring("sure classifier, log-softmax", "the same with a log-softmax in the model", terms=nll_terms)
def _() -> Problem:
    model, x, output = sure_net(300)
    return nn.Sequential(model, nn.LogSoftmax(1)), ragged(x, output.argmax(1), sizes=SIZES), nn.NLLLoss()


@bring("sure answers of yes and no", "click models on easy data", terms=binary_terms)
def _() -> Problem:
    model, x, output = sure_net(300, 1)
    return model, ragged(x, (output > 0).float(), sizes=SIZES), "bce"


for name, who, scale, expect in (
    ("sure classifier as objective", "the same by a function of model and batch", 300, "right"),
    ("surer than float32 tells, as objective", "memorized data under an objective", 10_000, "refused"),
):

    @bring(name, who, options={"objective": by_sample}, mean=mean_of(by_sample), expect=expect)
    def _(scale: float = scale) -> Problem:
        model, x, output = sure_net(scale)
        labels = output.argmax(1)
        batches: list[Any] = [{"x": a, "labels": b} for a, b in zip(x.split(25), labels.split(25), strict=True)]
        return model, batches, None


@bring("surer than float32 tells", "memorized data: the loss is 0", expect="refused", terms=cross_entropy_terms)
def _() -> Problem:
    model, x, output = sure_net(10_000)
    return model, ragged(x, output.argmax(1), sizes=SIZES), "cross_entropy"


@bring("surer than float32 tells, yes and no", "the same of one output", expect="refused", terms=binary_terms)
def _() -> Problem:
    model, x, output = sure_net(10_000, 1)
    return model, ragged(x, (output > 0).float(), sizes=SIZES), "bce"


@bring("fitted to the last digit", "regression with more parameters than samples", terms=squared_terms)
def _() -> Problem:
    model, x, output = sure_net(1, 1)
    return model, ragged(x, output + 1e-5 * numbers(SAMPLES, 1, seed=2), sizes=SIZES), "mse"
