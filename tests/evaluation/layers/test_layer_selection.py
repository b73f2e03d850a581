"""Which linear layers can be measured."""

from __future__ import annotations

import torch
from conftest import tanh_net
from token_models import layers
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.evaluation.layers.layer_selection import measurable_layers, without_head
from landscape.network.linear_maps import linear_maps

Data = tuple[Tensor, Tensor]


def test_a_module_that_gives_something_else_than_its_matrix_is_left_out(classification: Data) -> None:
    class Standardized(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean(dim=1, keepdim=True)
            return functional.linear(x, weight, self.bias)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), Standardized(4, 4), nn.Tanh(), nn.Linear(4, 3))
    objective = Objective(net, classification, "cross_entropy")
    used, unused = measurable_layers(objective, linear_maps(net, objective.space.names)[0])
    assert [one.name for one in used] == ["0", "4"]
    assert unused == ["2"]


def test_layers_come_in_the_order_of_their_calls_and_the_uncalled_are_named(classification: Data) -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.last, self.unused, self.first = nn.Linear(4, 3), nn.Linear(5, 5), nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.first(x).tanh())
            return out

    net = Backwards()
    objective = Objective(net, classification, "cross_entropy")
    used, unused = measurable_layers(objective, linear_maps(net, objective.space.names)[0])
    assert [one.name for one in used] == ["first", "last"]
    assert unused == ["unused"]


def test_the_head_has_as_many_outputs_as_the_model(classification: Data) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy")
    assert [one.name for one in without_head(objective, layers(objective))] == ["0"]
    pooled = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 6), nn.AvgPool1d(2))
    objective = Objective(pooled, classification, "cross_entropy")  # its last linear layer has twice the classes
    assert [one.name for one in without_head(objective, layers(objective))] == ["0", "2"]
