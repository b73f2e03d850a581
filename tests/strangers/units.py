"""Batches that are units, weight decay and train mode."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strangers.objectives import by_sample, dictionaries, mean_of
from strangers.stranger import Problem, bring, classes, cross_entropy_terms, integers, net, numbers, ragged


class DenseGraphNet(nn.Module):
    """Two layers over an adjacency matrix."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        logits: Tensor = self.second(adjacency @ torch.tanh(self.first(nodes)))
        return logits


@bring(
    "dense adjacency",
    "graphs of N nodes with an N x N matrix",
    clause="C4",
    says="each batch is one unit",
    terms=cross_entropy_terms,
    units=True,
)
def _() -> Problem:
    graphs = [((numbers(n, 5, seed=n), (numbers(n, n, seed=n + 1) > 0.5).float()), integers(3, n)) for n in (12, 9)]
    return DenseGraphNet(), graphs, "cross_entropy"


class EdgeNet(DenseGraphNet):
    """The same over a list of edges."""

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(nodes))
        sums = torch.zeros_like(hidden).index_add(0, edges[1], hidden[edges[0]])
        logits: Tensor = self.second(hidden + sums)
        return logits


@bring(
    "list of edges",
    "message passing on edge_index",
    clause="C4",
    says="each batch is one unit",
    terms=cross_entropy_terms,
    units=True,
)
def _() -> Problem:
    graphs = [((numbers(n, 5, seed=n), integers(n, 2, 3 * n)), integers(3, n)) for n in (11, 6)]
    return EdgeNet(), graphs, "cross_entropy"


def by_box(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
    boxes, labels = (torch.cat([image[name] for image in batch]) for name in ("boxes", "labels"))
    return functional.cross_entropy(model(boxes), labels, reduction="sum"), len(labels)


def mean_by_box(model: nn.Module, batches: list[Any]) -> Tensor:
    sums = [by_box(model, batch) for batch in batches]
    return sum((total for total, _ in sums), torch.zeros(())) / sum(count for _, count in sums)


@bring(
    "lists of dictionaries",
    "detection: boxes and labels for each image",
    clause="C4",
    says="each batch is one unit",
    options={"objective": by_box},
    mean=mean_by_box,
    alone=False,
)
def _() -> Problem:
    images = [{"boxes": numbers(n, 5, seed=n), "labels": integers(3, n, seed=n)} for n in (2, 5, 1, 3, 4)]
    return net(), [images[:3], images[3:]], None


def by_sequence(model: nn.Module, batch: list[Tensor]) -> tuple[Tensor, int]:
    return sum((model(steps).square().mean() for steps in batch), torch.zeros(())), len(batch)


@bring(
    "ragged sequences",
    "lists of tensors of several lengths",
    clause="C4",
    says="each batch is one unit",
    options={"objective": by_sequence},
    mean=lambda model, batches: sum(by_sequence(model, batch)[0] for batch in batches) / sum(map(len, batches)),
    alone=False,
)
def _() -> Problem:
    sequences = [numbers(n, 5, seed=n) for n in (3, 7, 2, 5)]
    return net(), [sequences[:3], sequences[3:]], None


def by_task(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    return by_sample(model, batch) * (1.0 if batch["task"] == "easy" else 3.0)


@bring("words in the data", "a name of the task for each batch", options={"objective": by_task}, mean=mean_of(by_task))
def _() -> Problem:
    tasks = ("easy", "hard", "easy")
    return net(), [{**batch, "task": task} for batch, task in zip(dictionaries(), tasks, strict=True)], None


def decayed(rate: float, *, biases: bool) -> Any:
    """The mean cross-entropy plus rate/2 times the sum of squares."""

    def mean(model: nn.Module, batches: list[Any]) -> Tensor:
        squares = [p.square().sum() for p in model.parameters() if biases or p.ndim > 1]
        return mean_of(by_sample)(model, batches) + rate / 2 * torch.stack(squares).sum()

    return mean


for name, who, biases, globs in (
    ("weight decay", "the loss of SGD with weight decay", True, ()),
    ("weight decay without biases", "decay of matrices alone", False, ("*.weight",)),
):

    @bring(
        name,
        who,
        options={"objective": by_sample, "weight_decay": 0.05, "decay_params": globs},
        mean=decayed(0.05, biases=biases),
        undecayed=decayed(0.0, biases=biases),
    )
    def _() -> Problem:
        return net(), dictionaries(), None


def in_train_mode(model: nn.Module, batches: list[Any]) -> Tensor:
    """The mean over batches as given, with random numbers that begin at the place of the first sample."""
    total, place = torch.zeros(()), 0
    model.train()
    for x, labels in batches:
        torch.manual_seed(place)
        total = total + functional.cross_entropy(model(x), labels, reduction="sum")
        place += len(labels)
    model.eval()
    return total / place


def net_with(part: nn.Module) -> Problem:
    """A classifier with a layer that is another one in train mode."""
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(5, 4), part, nn.Tanh(), nn.Linear(4, 3)), ragged(*classes()), "cross_entropy"


@bring(
    "train mode, batch statistics",
    "BatchNorm as in training",
    clause="C4",
    says="batches as they are given",
    options={"mode": "train"},
    mean=in_train_mode,
    alone=False,
    cannot=("measures",),
)
def _() -> Problem:
    return net_with(nn.BatchNorm1d(4))


@bring(
    "train mode, dropout",
    "masks of dropout as in training",
    clause="C5",
    says="random numbers from torch begin at the place",
    options={"mode": "train", "dtype": "float64"},
    mean=in_train_mode,
    alone=False,
    cannot=("measures",),
)
def _() -> Problem:
    return net_with(nn.Dropout(0.4))
