"""Which weights change: the chosen kinds of each module, a tied tensor once."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, Sensitivity
from landscape.analyses.sensitivity.layers_to_change import layers_to_change, note_on_other_layers
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class Tied(nn.Module):
    """Tokens whose table is also the head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.mix, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.tokens(ids) + torch.tanh(self.mix(self.tokens(ids))))
        return out


def test_a_tied_tensor_changes_once(generator: torch.Generator) -> None:
    ids = torch.randint(0, 7, (30,), generator=generator)
    net = Tied().double()
    objective = Objective(net, [(ids, ids.roll(1))], "cross_entropy", dtype="float64")
    result = landscape.run(Sensitivity(bits=(3,)), objective)
    assert list(result.change_layer) == ["tokens", "mix"]
    rounded = net.tokens.weight.detach()
    scale = rounded.abs().amax(dim=1, keepdim=True) / 3
    before = functional.cross_entropy(net(ids), ids.roll(1)).item()
    net.tokens.weight.data = (rounded / scale).round() * scale  # the head's too
    after = functional.cross_entropy(net(ids), ids.roll(1)).item()
    assert result.change_real[0] == pytest.approx(after - before, rel=1e-9)


def test_only_matrices_change_unless_kinds_are_named(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = landscape.run(Sensitivity(bits=(3,)), objective)
    assert result.change_parameters.tolist() == [20, 12]
    assert result.changed_parameters == 32
    assert result.notes == ("2 tensors stay as they are (bias)",)
    every = landscape.run(Sensitivity(bits=(3,), kinds=("weight", "bias")), objective)
    assert every.change_parameters.tolist() == [24, 15]
    assert every.notes == ()


def test_nothing_to_change_is_refused(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", params=("*.bias",))
    with pytest.raises(UsageError, match="no parameter is of the kinds that change: weight, embedding"):
        landscape.run(Sensitivity(), objective)


def test_a_group_holds_the_parameters_of_the_chosen_kinds_alone(classification: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    objective = Objective(net, [classification], "cross_entropy")
    weights = layers_to_change(Sensitivity(), objective)
    assert [(one.name, one.names, one.ranges) for one in weights] == [
        ("0", ("0.weight",), ((0, 20),)),
        ("2", ("2.weight",), ((32, 44),)),
    ]
    biases = layers_to_change(Sensitivity(kinds=("bias",)), objective)
    assert [one.name for one in biases] == ["0", "2"]
    assert biases[0].ranges == ((20, 24),)


def test_parameters_that_stay_are_counted_with_their_kinds(classification: Data) -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    objective = Objective(net, [classification], "cross_entropy")
    note = note_on_other_layers(objective, layers_to_change(Sensitivity(), objective))
    assert note.startswith("4 tensors stay as they are (bias, ")  # two biases, and two of the normalization
    assert note.count("bias") == 1
    assert note_on_other_layers(objective, objective.space.layers()) == ""
