"""Contrastive losses, and losses with parameters of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.stateful import BATCH, SAMPLES
from strangers.stranger import (
    Problem,
    bring,
    classes,
    net,
    numbers,
    ragged,
)


class Pairs(nn.Module):
    """Embeddings of two views."""

    def __init__(self, learned: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.left, self.right = nn.Linear(5, 3), nn.Linear(4, 3)
        self.temperature = nn.Parameter(torch.tensor(1.0)) if learned else None

    def forward(self, left: Tensor, right: Tensor) -> Any:
        one, other = functional.normalize(self.left(left)), functional.normalize(self.right(right))
        scale = 1.0 if self.temperature is None else self.temperature.exp()
        return scale * one, other


def info_nce(output: Any, target: Tensor) -> Tensor:
    """Each left view against all right ones of its batch."""
    scores = output[0] @ output[1].T
    places = torch.arange(len(scores))
    return (functional.cross_entropy(scores, places) + functional.cross_entropy(scores.T, places)) / 2


def views() -> list[Any]:
    """Pairs of views; the targets are not used."""
    left, right, none = numbers(23, 5), numbers(23, 4, seed=1), torch.zeros(23)
    return [((a, b), c) for a, b, c in ragged(left, right, none)]


@bring(
    "InfoNCE",
    "contrastive learning with a temperature in the model",
    clause="C4",
    alone=False,
    cannot=SAMPLES,
    says=BATCH,
)
def _() -> Problem:
    return Pairs(learned=True), views(), info_nce


class Contrast:
    """The same as an object with a total and a count."""

    name = "contrast"

    def total(self, output: Any, target: Tensor) -> Tensor:
        """The summed loss."""
        return info_nce(output, target) * len(target)

    def count(self, target: Tensor) -> int:
        """How many samples."""
        return len(target)


@bring(
    "InfoNCE as an object",
    "CLIP's loss with total and count",
    clause="C4",
    alone=False,
    says=BATCH,
    terms=lambda o, t: (info_nce(o, t) * len(t), len(t)),
    cannot=SAMPLES,
)
def _() -> Problem:
    return Pairs(learned=True), views(), Contrast()


class Tempered(nn.Module):
    """Cross-entropy with a learned temperature of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output * self.log_scale.exp(), target, reduction="none")


@bring("temperature in the loss", "calibration learned with the net", clause="C2")
def _() -> Problem:
    return net(), ragged(*classes()), Tempered()


class ArcFace(nn.Module):
    """Margins of angles to learned class centers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.centers = nn.Parameter(torch.randn(3, 4))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        cosine = functional.normalize(output) @ functional.normalize(self.centers).T
        angle = cosine.clamp(-0.999, 0.999).acos()
        return functional.cross_entropy(4 * (angle + 0.2 * functional.one_hot(target, 3)).cos(), target)


@bring("ArcFace", "face recognition: class centers live in the loss", clause="C2")
def _() -> Problem:
    return net(4), ragged(*classes()), ArcFace()


class Uncertain(nn.Module):
    """Two tasks weighted by learned variances (Kendall)."""

    def __init__(self) -> None:
        super().__init__()
        self.variances = nn.Parameter(torch.tensor([0.3, -0.2]))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        errors = (output - target) ** 2
        return (errors * (-self.variances).exp() + self.variances).mean(1)


@bring("uncertainty weights", "multi-task nets", clause="C2")
def _() -> Problem:
    return net(2), ragged(numbers(23, 5), numbers(23, 2, seed=3)), Uncertain()


@bring("leaf in a closure", "a learned scale outside any module", clause="C2", says="stay fixed")
def _() -> Problem:
    scale = torch.tensor(1.3, requires_grad=True)
    return net(), ragged(*classes()), lambda o, t: functional.cross_entropy(o * scale, t, reduction="none")
