"""Work inside a scope sees other tensors in every place, and leaves the user's module as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape.compute.strategy import ProductSettings
from landscape.network.scope import MODEL, Scope, work_within


def twice() -> nn.Module:
    shared = nn.Linear(4, 4)
    return nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(4, 2))


def one_layer_inside_of_two() -> nn.Module:
    shared = nn.Linear(4, 4)
    stages = (nn.Sequential(nn.Linear(4, 4), nn.Tanh(), shared) for _ in range(2))
    return nn.Sequential(*stages, nn.Linear(4, 2))


class Aliased(nn.Module):
    """A layer in a list and as an attribute, a normalization under two names, and a weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.first, self.norm = self.layers[0], nn.BatchNorm1d(4)
        self.same_norm, self.head = self.norm, nn.Linear(4, 2)
        self.layers[1].weight = self.layers[0].weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.same_norm(self.layers[1](torch.tanh(self.norm(self.first(x))))))
        return out


MODELS = pytest.mark.parametrize("make", [twice, one_layer_inside_of_two, Aliased])
DATA = (torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2)


@MODELS
def test_every_place_holds_the_given_tensor_and_its_own_afterwards(make: Callable[[], nn.Module]) -> None:
    scope = Scope(make())
    before = [(id(m), k, id(t)) for m in scope.modules() for d in (m._parameters, m._buffers) for k, t in d.items()]
    state = {name: torch.full_like(tensor, 7) for name, tensor in scope.named_parameters()}
    for _ in range(2):
        seen = work_within(scope, state, lambda: [tensor.clone() for tensor in scope.parameters()])
        assert all(bool((tensor == 7).all()) for tensor in seen)
        places = [(id(m), k, id(t)) for m in scope.modules() for d in (m._parameters, m._buffers) for k, t in d.items()]
        assert places == before


def test_a_tensor_may_be_given_by_any_of_its_names() -> None:
    scope = Scope(twice())
    inside = work_within(scope, {f"{MODEL}.2.weight": torch.zeros(4, 4)}, lambda: scope.model[0].weight)  # type: ignore[index]
    assert not bool(inside.any())
    assert isinstance(scope.model[2].weight, nn.Parameter)  # type: ignore[index]


@MODELS
@pytest.mark.parametrize("recompute", ["off", "auto"])
def test_a_second_objective_of_a_model_finds_what_the_first_found(
    make: Callable[[], nn.Module], recompute: Any
) -> None:
    torch.manual_seed(1)
    model, found = make(), []
    parameters = [id(parameter) for parameter in model.parameters()]
    for _ in range(3):
        settings = ProductSettings(recompute=recompute)
        objective = landscape.Objective(model, DATA, "cross_entropy", dtype="float64", settings=settings)
        result = landscape.run(landscape.Eig(k=1), objective)
        found.append((objective.space.size, float(result.loss), float(np.atleast_1d(result.eigenvalues)[0])))
        assert [id(parameter) for parameter in model.parameters()] == parameters
    assert found[0] == found[1] == found[2]
