"""Vectors in outputs have the loss's Hessian as their mean outer product, and which are chosen for which matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from oracles.diagonals import TextNet
from torch import Tensor, nn
from torch.func import hessian
from torch.nn import functional

from landscape import Objective
from landscape.data.batches import Batch
from landscape.losses import OutputStructure
from landscape.operators.output_vectors import (
    LabelVectors,
    OwnLabelVectors,
    RootVectors,
    SignVectors,
    choose_vectors,
)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def images(count: int) -> Tensor:
    return normal(count, 2, 6, 6)


WEIGHTS = torch.tensor([1.0, 0.2, 3.0])
TARGETS = torch.tensor([[0, 1, 2, -100], [2, 2, -100, 0]])
PIXELS = TARGETS.clamp(min=0)[:, :, None].expand(2, 4, 2)
CASES: dict[str, tuple[Any, tuple[int, ...], Tensor, Any]] = {
    "tokens": (
        "cross_entropy", (2, 4, 3), TARGETS, lambda z, t: functional.cross_entropy(z.flatten(0, 1), t.flatten()),
    ),
    "class-axis": (
        nn.CrossEntropyLoss(), (2, 3, 4, 2), PIXELS, lambda z, t: functional.cross_entropy(z, t)
    ),
    "weights": (
        nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2), (2, 3), torch.tensor([0, 2]),
        lambda z, t: functional.cross_entropy(z, t, weight=WEIGHTS.to(z), label_smoothing=0.2),
    ),
    "mse": ("mse", (2, 3), normal(2, 3), functional.mse_loss),
    "bce": ("bce", (2, 3), (normal(2, 3) > 0).float(), functional.binary_cross_entropy_with_logits),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_signs_have_the_hessian_of_the_loss_as_their_mean(case: str) -> None:
    loss, shape, targets, function = CASES[case]
    objective = _identity(shape, targets, loss)
    output = 2 * normal(*shape).double()
    targets = targets.double() if targets.is_floating_point() else targets
    batch = Batch(output, targets, 0)
    vectors = SignVectors(objective, 6000, 0).make(output.requires_grad_(), batch, 0)
    assert vectors.signs is None
    rows, count = vectors.by_output[0].reshape(6000, 2, -1), objective.loss.count(targets)
    for sample in range(2):

        def alone(z: Tensor, sample: int = sample) -> Tensor:
            whole = output.detach().clone()
            whole = torch.cat([z.reshape(1, *shape[1:]) if i == sample else whole[i : i + 1] for i in range(2)])
            return function(whole, targets) * count

        expected = hessian(alone)(output.detach()[sample].reshape(-1))
        outer = torch.einsum("ki,kj->kij", rows[:, sample], rows[:, sample])
        error = outer.std(dim=0) / 6000**0.5
        distance = (outer.mean(dim=0) - expected).abs()
        assert bool((distance <= 5 * error + 1e-9).all()), distance / error
        assert float(expected.abs().max()) > 0


def _identity(shape: tuple[int, ...], targets: Tensor, loss: Any) -> Objective:
    """An objective whose model adds a parameter to its input."""

    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.shift

    return Objective(Shift(), (normal(*shape), targets), loss, dtype="float64")


def wide(loss: Any = "cross_entropy") -> Objective:
    targets = normal(6, 40) if loss == "mse" else torch.arange(6)
    return Objective(nn.Linear(5, 40), (normal(6, 5), targets), loss)


def text(**changes: Any) -> Objective:
    return Objective(TextNet(), (torch.arange(40).reshape(4, 10)[:, :6] % 5, torch.ones(4, 6).long()), **changes)


def quartic(z: Tensor, t: Tensor) -> Tensor:
    return ((z - t) ** 4).mean()


class Poisson:
    """A likelihood of counts, whose Hessian has no known form."""

    name = "poisson"
    structure = OutputStructure(likelihood=True)

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.exp() - target * output).sum()

    def count(self, target: Tensor) -> int:
        return target.numel()

    def sample(self, output: Tensor, target: Tensor, uniform: Any) -> Tensor:
        return torch.floor(-uniform(tuple(output.shape)).log() * output.double().exp()).to(target)


def counts() -> Objective:
    return Objective(tanh_net(), (normal(6, 5), torch.ones(6, 3)), Poisson())


CHOICES: dict[str, tuple[Any, Any, Any]] = {
    "few": (lambda: Objective(tanh_net(), (normal(6, 5), torch.arange(6) % 3), "cross_entropy"), "ggn", RootVectors),
    "few-fisher": (
        lambda: Objective(tanh_net(), (normal(6, 5), torch.arange(6) % 3), "cross_entropy"), "fisher", RootVectors,
    ),
    "many": (wide, "ggn", SignVectors),
    "many-fisher": (wide, "fisher", SignVectors),
    "many-numbers": (lambda: wide("mse"), "ggn", SignVectors),
    "many-of-no-known-form": (
        lambda: Objective(nn.Linear(5, 40), (normal(6, 5), normal(6, 40)), quartic), "ggn", type(None),
    ),
    "likelihood": (counts, "fisher", LabelVectors),
    "likelihood-ggn": (counts, "ggn", RootVectors),
    "own-labels": (wide, "empirical-fisher", OwnLabelVectors),
    "own-labels-of-tokens": (lambda: text(loss="cross_entropy"), "empirical-fisher", type(None)),
    "hessian": (wide, "hessian", type(None)),
    "train-mode": (
        lambda: Objective(
            nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), (normal(6, 5), torch.arange(6) % 3), "cross_entropy",
            mode="train",
        ),
        "ggn", type(None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CHOICES))
def test_the_vectors_for_each_matrix(case: str) -> None:
    build, name, kind = CHOICES[case]
    assert type(choose_vectors(build(), name)) is kind
