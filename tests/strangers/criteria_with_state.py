"""Losses that change, draw, write into what they are given, or hold a model."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stateful import BATCH, SAMPLES
from strangers.stranger import Problem, bring, classes, cross_entropy_terms, integers, net, numbers, ragged


@bring(
    "targets changed in place",
    "masks that are written into the targets",
    clause="C5",
    expect="said",
    terms=lambda o, t: (cross_entropy_terms(o, t)[0], len(t)),
)
def _() -> Problem:
    x, y = classes()
    y[10:18] = -100

    def loss(output: Tensor, target: Tensor) -> Tensor:
        kept = (target != -100).float()
        target[target == -100] = 0
        return functional.cross_entropy(output, target, reduction="none") * kept

    return net(), ragged(x, y), loss


@bring(
    "outputs changed in place",
    "losses that clamp their input",
    terms=lambda o, t: (functional.cross_entropy(o.clamp(-0.3, 0.3), t, reduction="sum"), len(t)),
)
def _() -> Problem:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output.clamp_(-0.3, 0.3), target, reduction="none")

    return net(), ragged(*classes()), loss


class Baseline:
    """A policy-gradient loss with a running baseline that is kept outside any module."""

    __name__ = "baseline"

    def __init__(self) -> None:
        self.baseline = 0.0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        reward = functional.cross_entropy(output, target, reduction="none")
        self.baseline = 0.9 * self.baseline + 0.1 * float(reward.detach().mean())
        return (reward - self.baseline) ** 2


@bring("running baseline", "policy gradients", expect="refused", clause="C5")
def _() -> Problem:
    return net(), ragged(*classes()), Baseline()


@bring("random negatives", "losses that draw", expect="refused", clause="C5", alone=False)
def _() -> Problem:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        other = output[torch.randperm(len(output))]
        return functional.relu(0.5 + (output - target).norm(dim=1) - (other - target).norm(dim=1)).mean()

    return net(3), ragged(numbers(23, 5), numbers(23, 3, seed=2)), loss


@bring("random labels by Python", "smoothing that flips labels now and then", expect="refused", clause="C5")
def _() -> Problem:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        flipped = (target + 1) % 3 if random.random() < 0.3 else target
        return functional.cross_entropy(output, flipped, reduction="none")

    return net(), ragged(*classes()), loss


@bring("own generator", "models that keep a torch.Generator", expect="refused", clause="C5")
def _() -> Problem:
    return Drawing(), ragged(*classes()), "cross_entropy"


class Drawing(nn.Module):
    """A net with noise from its own generator, once in a while."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.generator = net(), torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        noisy = torch.rand((), generator=self.generator) < 0.3
        out: Tensor = self.net(x + 0.1 * torch.randn(x.shape, generator=self.generator, dtype=x.dtype) * noisy)
        return out


class Centers(nn.Module):
    """Center loss whose centers are moving averages in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centers", numbers(3, 4, seed=7))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            for label in range(3):
                if (target == label).any():
                    self.centers[label] = 0.9 * self.centers[label] + 0.1 * output[target == label].mean(0)
        return ((output - self.centers[target]) ** 2).sum(1)


@bring("center loss with moving centers", "a criterion that updates its buffers", clause="C5", expect="refused")
def _() -> Problem:
    return net(4), ragged(*classes()), Centers()


class Dropping(nn.Module):
    """A criterion with a layer of its own, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.project, self.drop = nn.Linear(4, 3), nn.Dropout(0.5)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(self.project(self.drop(output)), target, reduction="none")


@bring("criterion in training mode", "a head inside the loss, with dropout", clause="C2")
def _() -> Problem:
    return net(4), ragged(*classes()), Dropping().train()


class Holding(nn.Module):
    """A criterion that holds the model as a part of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        decay = sum((p**2).sum() for p in self.model.parameters())
        return functional.cross_entropy(output, target) + 0.05 * decay


@bring("criterion that holds the model", "penalties in a loss module", clause="C1")
def _() -> Problem:
    model = net()
    return model, ragged(*classes()), Holding(model)


@bring("sample weights", "weights that come with the targets")
def _() -> Problem:
    x, y = classes()
    weights = numbers(23, seed=4).abs()
    parts = [(a, (b, w)) for a, b, w in ragged(x, y, weights)]
    return net(), parts, lambda o, t: functional.cross_entropy(o, t[0], reduction="none") * t[1]


@bring(
    "sample weights, normalized in the batch",
    "the same divided by their sum",
    clause="C4",
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
)
def _() -> Problem:
    x, y = classes()
    weights = numbers(23, seed=4).abs()
    parts = [(a, (b, w)) for a, b, w in ragged(x, y, weights)]
    return net(), parts, lambda o, t: (functional.cross_entropy(o, t[0], reduction="none") * t[1]).sum() / t[1].sum()


@bring("mean over kept tokens", "masked means over sequences", clause="C4", alone=False, says=BATCH, cannot=SAMPLES)
def _() -> Problem:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Tanh(), nn.Linear(4, 5))
    ids = integers(5, 20, 4)
    kept = (torch.arange(4) < 1 + integers(4, 20, seed=3)[:, None]).float()
    parts = [(a, (b, m)) for a, b, m in ragged(ids, integers(5, 20, 4, seed=2), kept, sizes=(8, 8, 4))]

    def loss(output: Tensor, target: Any) -> Tensor:
        each = functional.cross_entropy(output.transpose(1, 2), target[0], reduction="none")
        return (each * target[1]).sum() / target[1].sum()

    return model, parts, loss


class Whole(nn.Module):
    """A model whose forward pass returns its mean loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(self.net(x), y)


@bring("model that returns its loss", "training scripts with the loss in forward")
def _() -> Problem:
    return Whole(), [((x, y), y) for x, y in ragged(*classes())], lambda output, target: output


@bring(
    "weights of the batch's own classes",
    "balance that each batch computes",
    clause="C4",
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
)
def _() -> Problem:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        counts = torch.bincount(target, minlength=3).clamp_min(1)
        return (functional.cross_entropy(output, target, reduction="none") / counts[target]).mean()

    return net(), ragged(*classes()), loss


@bring(
    "statistics of large batches only",
    "normalization above 8 samples",
    clause="C4",
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
)
def _() -> Problem:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        out = output - output.mean(0) if len(output) > 8 else output
        return functional.cross_entropy(out, target, reduction="none")

    return net(), ragged(*classes()), loss


@bring(
    "variance of the losses",
    "fair risks: coupled by 5e-5 of the loss, and by a fifth of the curvature",
    clause="C4",
    alone=False,
    says=BATCH,
    cannot=SAMPLES,
    options={"micro_batch": 3},
)
def _() -> Problem:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        each = functional.cross_entropy(0.1 * output, target, reduction="none")
        return each.mean() + each.var(correction=0)

    return net(), ragged(*classes()), loss


@bring("stop-gradient targets", "self-supervised twins with detach()", clause="C6", expect="refused")
def _() -> Problem:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        one, other = output.chunk(2, dim=1)
        return ((one - other.detach()) ** 2).mean(1)

    return net(4), ragged(*classes()), loss


@bring("a batch of ignored targets", "a function's mean over nothing is NaN", clause="C8", expect="refused")
def _() -> Problem:
    x, y = classes()
    y[9:18] = -100
    return net(), ragged(x, y), lambda o, t: functional.cross_entropy(o, t)
