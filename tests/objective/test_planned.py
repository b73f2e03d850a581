"""An objective for a plan: at most two gradients of a micro-batch, and the checks only where it needs them."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from counted_passes import count_passes
from torch import Tensor, nn

from landscape.errors import TaskError
from landscape.objective import PlannedObjective
from landscape.objective.micro_batch import seconds_per_gradient

Data = tuple[Tensor, Tensor]


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 24])
def test_making_one_costs_at_most_two_gradients_of_a_micro_batch(micro_batch: int, classification: Data) -> None:
    with count_passes(nn.Sequential) as passes:
        objective = PlannedObjective(tanh_net(), [classification], "cross_entropy", micro_batch=micro_batch)
        seconds_per_gradient(objective)
    assert passes.forward <= 2 * micro_batch
    assert passes.backward <= 2 * micro_batch
    assert objective.checks == ()


def test_a_model_that_fails_without_what_the_checks_find_is_checked() -> None:
    class Whole(nn.Module):
        """Takes all twelve nodes of a graph, and no part of them."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 2))
            self.adjacency = torch.eye(12)

        def forward(self, nodes: Tensor) -> Tensor:
            return self.adjacency @ nodes @ self.weight

    data = torch.randn(12, 3), torch.randint(0, 2, (12,))
    assert PlannedObjective(Whole(), [data], "cross_entropy").batches.unit


def test_a_model_that_cannot_take_the_data_is_refused_as_by_a_measurement(classification: Data) -> None:
    x, y = classification
    with pytest.raises(TaskError, match="the model cannot take the data"):
        PlannedObjective(tanh_net(), [(x[:, :4], y)], "cross_entropy")
