"""A fully connected net is its linear layers with the activation between them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.zoo import mlp


def test_the_output_is_that_of_the_layers_by_hand() -> None:
    net = mlp((3, 5, 2), "relu")
    first, _, last = net
    x = torch.randn(7, 3)
    expected = functional.relu(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    assert torch.allclose(net(x), expected, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("tanh", nn.Tanh), ("relu", nn.ReLU), ("gelu", nn.GELU)])
def test_activations_stand_between_layers_only(name: str, kind: type[nn.Module]) -> None:
    net = mlp((4, 4, 4, 4), name)
    assert [type(module) for module in net] == [nn.Linear, kind, nn.Linear, kind, nn.Linear]


def test_a_description_cannot_ask_for_a_huge_net() -> None:
    with pytest.raises(ValueError, match="layers are more than 1,000"):
        mlp((1,) * 1001)
