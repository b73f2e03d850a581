"""A loss that draws random numbers is refused or noted; one that changes its targets has them anew in each pass."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from contract_breakers import BATCHES, Net, X, Y
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape.errors import TaskError


def test_a_loss_that_changes_its_targets_is_measured_with_those_given() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        mask = target != -100
        target[~mask] = 0
        return functional.cross_entropy(output, target, reduction="none") * mask

    targets = Y.clone()
    targets[::3] = -100
    before = targets.clone()
    expected = functional.cross_entropy(Net()(X), before, reduction="sum") / len(X)
    objective = landscape.Objective(Net(), (X, targets), loss)
    for _ in range(3):
        assert float(objective.value()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert torch.equal(targets, before)


def random_labels(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output, torch.tensor([random.randrange(3) for _ in target]))


def random_negatives(output: Tensor, target: Tensor) -> Tensor:
    return functional.triplet_margin_loss(output, output.roll(1, 0), output[torch.randperm(len(output))])


def noise(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output + 0.01 * float(np.random.rand()) * output, target)


@pytest.mark.parametrize(
    ("loss", "source"), [(random_labels, "Python's random"), (random_negatives, "torch"), (noise, "numpy.random")]
)
def test_a_random_loss_is_refused_with_the_source(loss: object, source: str) -> None:
    with pytest.raises(TaskError, match=rf"loss \w+ is random: it depends on draws from {source}"):
        landscape.Objective(Net(), BATCHES, loss)


def test_numbers_that_a_loss_draws_and_does_not_use_are_noted() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        random.random()
        return functional.cross_entropy(output, target)

    objective = landscape.Objective(Net(), BATCHES, loss)
    assert any("the loss draws random numbers from Python's random" in note for note in objective.notes)
    assert float(objective.value()) == pytest.approx(objective.reference.loss, rel=1e-6)


def test_a_head_with_dropout_inside_the_loss_is_in_eval_mode() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.mix, self.drop = nn.Linear(3, 3), nn.Dropout(0.5)

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            return functional.cross_entropy(self.drop(self.mix(output)), target)

    head = Head()
    objective = landscape.Objective(Net(), BATCHES, head)
    assert head.training
    expected = functional.cross_entropy(head.eval()(Net()(X), Y) * 0 + head.mix(Net()(X)), Y)
    assert float(objective.value()) == pytest.approx(float(expected.detach()), rel=1e-6)
