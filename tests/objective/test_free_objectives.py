"""Objectives that take liberties with their batch and their model are measured rightly, or refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plain_objectives as plain
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.operators.hessian import HessianOperator

X = torch.randn(14, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(14) % 2


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def require_dense(data: Any, function: Callable[[Any, Any], Any], mean: Callable[[nn.Module], Tensor]) -> Objective:
    """Compares value, gradient and Hessian with those of the mean of an untouched module."""
    objective, plain_net = Objective(net(), data, objective=function, dtype="float64"), net()
    value = mean(plain_net)
    gradient, hessian = plain.spectrum(value, list(plain_net.parameters()))
    torch.testing.assert_close(objective.value(), value.detach())
    torch.testing.assert_close(objective.gradient(), gradient)
    torch.testing.assert_close(HessianOperator(objective).to_dense(), hessian)
    return objective


def cross_entropy(model: nn.Module) -> Tensor:
    return functional.cross_entropy(model(X), Y)


def pop(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    labels = batch.pop("labels")
    return functional.cross_entropy(model(batch.pop("x")), labels, reduction="none")


def put(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    batch["out"] = model(batch["x"])
    return functional.cross_entropy(batch["out"], batch["labels"], reduction="none")


def unpack(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    batch["pair"].append(model(batch["pair"].pop(0)))
    labels, output = batch["pair"]
    return functional.cross_entropy(output, labels, reduction="none")


DICTIONARIES = [{"x": X[:9], "labels": Y[:9]}, {"x": X[9:], "labels": Y[9:]}]
PAIRS = [{"pair": [X[:9], Y[:9]]}, {"pair": [X[9:], Y[9:]]}]


@pytest.mark.parametrize(("function", "data"), [(pop, DICTIONARIES), (put, DICTIONARIES), (unpack, PAIRS)])
def test_entries_may_be_taken_out_of_the_batch_and_put_into_it(function: Any, data: Any) -> None:
    objective = require_dense(data, function, cross_entropy)
    assert landscape.run(landscape.Eig(k=1), objective).trouble() is None
    assert all(set(batch) in ({"x", "labels"}, {"pair"}) for batch in data), "the user's own data are as they were"
    assert all(len(batch.get("pair", "ab")) == 2 for batch in data)


def test_a_loss_after_a_step_of_training_is_differentiated_through_the_step() -> None:
    """MAML: the objective takes gradients in the parameters that it is measured in."""

    def adapt(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        x, y = batch
        weights = dict(model.named_parameters())
        slopes = torch.autograd.grad(
            functional.cross_entropy(model(x[:4]), y[:4]), list(weights.values()), create_graph=True
        )
        stepped = {name: weight - 0.3 * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
        output = functional_call(model, stepped, (x[4:],))
        return functional.cross_entropy(output, y[4:], reduction="sum"), len(x) - 4

    def mean(model: nn.Module) -> Tensor:
        parts = [adapt(model, (x, y)) for x, y in zip(X.split(7), Y.split(7), strict=True)]
        return sum((total for total, _ in parts), torch.zeros(())) / sum(count for _, count in parts)

    objective = require_dense(list(zip(X.split(7), Y.split(7), strict=True)), adapt, mean)
    assert objective.as_given
    assert landscape.run(landscape.Eig(k=1), objective).trouble() is None
