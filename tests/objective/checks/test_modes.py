"""One function with and without gradients, or passes that record them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contract_breakers import BATCHES, Net, X, Y
from torch import Tensor
from torch.nn import functional

import landscape


def halves(net: Any, z: Tensor) -> Tensor:
    return z if torch.is_grad_enabled() else 0.5 * z


def uses_a_slope(net: Any, z: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(net.a(net.point).sum(), net.point, create_graph=True)
    return z + slope.mean()


def test_another_function_without_gradients_is_never_measured() -> None:
    objective = landscape.Objective(Net(halves), BATCHES, "cross_entropy")
    expected = functional.cross_entropy(Net()(X), Y)
    assert float(objective.value()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert any("another function is computed without gradients" in note for note in objective.notes)


def test_a_loss_that_differs_without_gradients_is_found_too() -> None:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target) * (1 if torch.is_grad_enabled() else 2)

    objective = landscape.Objective(Net(), BATCHES, loss)
    assert float(objective.value()) == pytest.approx(objective.reference.loss, rel=1e-6)
    assert objective.function.needs_gradients


def test_a_model_that_fails_without_gradients_gets_them() -> None:
    model = Net(uses_a_slope)
    model.point = torch.zeros(5, requires_grad=True)
    objective = landscape.Objective(model, BATCHES, "cross_entropy")
    assert float(objective.value()) == pytest.approx(objective.reference.loss, rel=1e-6)
    assert not objective.value().requires_grad


def test_an_ordinary_model_is_measured_without_gradients() -> None:
    objective = landscape.Objective(Net(), BATCHES, "cross_entropy")
    assert not objective.function.needs_gradients
    assert [finding.verdict for finding in objective.checks] == ["holds"] * 6
