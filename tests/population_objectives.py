"""Objectives with populations for tests of --by: ragged classes, a column of words, and dense matrices of each."""

from __future__ import annotations

from typing import Any

import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective

CLASSES = 3
SAMPLES = 26


def ragged_batches() -> list[dict[str, Any]]:
    """Three batches of 26 samples in three classes of 14, 8 and 4 samples, with a column of words."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(SAMPLES, 5, generator=generator)
    y = torch.tensor([0] * 14 + [1] * 8 + [2] * 4)[torch.randperm(SAMPLES, generator=generator)]
    words = ["book" if index % 3 else "web" for index in range(SAMPLES)]
    cuts = (slice(0, 11), slice(11, 22), slice(22, SAMPLES))
    return [{"x": x[cut], "labels": y[cut], "domain": words[cut]} for cut in cuts]


class OfDictionary(nn.Module):
    """A net of 5 -> 4 -> 3 that takes `x` and leaves out the words."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tanh_net()

    def forward(self, x: Tensor, domain: Any = None) -> Tensor:
        del domain
        scores: Tensor = self.net(x)
        return scores


def pairs() -> list[tuple[Tensor, Tensor]]:
    """The same samples and classes as pairs."""
    return [(batch["x"], batch["labels"]) for batch in ragged_batches()]


def population_objective(**settings: Any) -> Objective:
    """Cross-entropy of a tanh net on the ragged pairs, in float64."""
    return Objective(tanh_net(), pairs(), "cross_entropy", dtype="float64", **settings)


def samples_of_class(label: int) -> tuple[Tensor, Tensor]:
    """The samples of one class, in one batch."""
    x, y = (torch.cat(column) for column in zip(*pairs(), strict=True))
    return x[y == label], y[y == label]


def dense_of_class(label: int) -> Tensor:
    """The Hessian `(P, P)` of the mean loss of one class."""
    from landscape.operators import HessianOperator

    one = Objective(tanh_net(), samples_of_class(label), "cross_entropy", dtype="float64")
    return HessianOperator(one).to_dense()


def gradients_by_hand() -> Tensor:
    """The gradient `(3, P)` of each class's mean loss, by autograd alone."""
    rows = []
    for label in range(CLASSES):
        net = tanh_net().double()
        x, y = samples_of_class(label)
        nn.functional.cross_entropy(net(x.double()), y).backward()
        rows.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    return torch.stack(rows)
