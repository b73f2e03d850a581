"""Objectives that take liberties with their batch and their model are measured rightly, or refused in words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plain_objectives as plain
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.data.freezing import freeze
from landscape.errors import TaskError
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


def by_sample(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


UNEVEN = [(X[:9], Y[:9]), (X[9:], Y[9:])]
ANALYSES = [landscape.Eig(k=1), landscape.Trace(rtol=0.2), landscape.Sharpness(rho=0.02, steps=2, draws=4)]


@pytest.mark.parametrize("nothing", [(torch.zeros(()), 0), (0.0, 0)], ids=["tensor", "numbers"])
@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_batch_without_losses_adds_nothing(nothing: Any, analysis: Any) -> None:
    def skip(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Any:
        losses = by_sample(model, batch)
        return nothing if len(losses) == 5 else (losses.sum(), len(losses))

    objective = require_dense(UNEVEN, skip, lambda model: by_sample(model, UNEVEN[0]).mean())
    assert landscape.run(analysis, objective).trouble() is None


def test_a_constant_term_has_a_gradient_of_zero_beside_the_others() -> None:
    def with_constant(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"fit": by_sample(model, batch), "constant": 3 * torch.ones(len(batch[0]))}

    objective = require_dense(UNEVEN, with_constant, lambda model: cross_entropy(model) + 3)
    result = landscape.run(landscape.Measures(rtol=0.5, draws=2), objective)
    assert result.term_loss.tolist() == pytest.approx([float(objective.value()) - 3, 3])
    assert result.term_gradient_norm[1] == 0
    assert result.term_share.tolist() == pytest.approx([1, 0])


def test_a_batch_whose_losses_have_no_gradient_is_refused() -> None:
    """The losses of the other batch follow the weights all the same. Batches with a word are not joined."""

    def forget(model: nn.Module, batch: tuple[Tensor, Tensor, str]) -> tuple[Tensor, int]:
        with torch.set_grad_enabled(len(batch[0]) > 5):
            return by_sample(model, batch[:2]).sum(), len(batch[0])

    named = [(*batch, "a word") for batch in UNEVEN]

    with pytest.raises(TaskError, match="the objective fails on a batch: RuntimeError: .* does not require grad"):
        landscape.run(landscape.Eig(k=1), Objective(net(), named, objective=forget))


def noisy_views(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
    """InfoNCE of two noisy views: of one sample it is 0 whatever the noise."""
    one, other = (functional.normalize(model(batch[0] + torch.randn_like(batch[0])), dim=1) for _ in range(2))
    return functional.cross_entropy(one @ other.T, torch.arange(len(one)), reduction="sum"), len(one)


def shuffled_pairs(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    output = model(batch[0])
    return (output - output[torch.randperm(len(output))]).square().sum(dim=1)


@pytest.mark.parametrize("function", [noisy_views, shuffled_pairs])
def test_chance_that_shows_only_in_several_samples_is_found(function: Any) -> None:
    with pytest.raises(TaskError, match="the objective is random: it depends on draws from torch") as caught:
        Objective(net(), UNEVEN, objective=function, dtype="float64")
    assert "keep the numbers with the data" in caught.value.fix


def test_a_moving_average_in_the_objective_is_refused() -> None:
    mean = [1.0]

    def scale(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        losses = by_sample(model, batch)
        mean[0] = 0.9 * mean[0] + 0.1 * float(losses.detach().mean())
        return losses / mean[0]

    with pytest.raises(TaskError, match="objective .* gives two different outputs") as caught:
        Objective(net(), UNEVEN, objective=scale)
    assert "moving average" in caught.value.why
    assert "at each call" in caught.value.fix


def fix_layer(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    model[0].weight.requires_grad_(False)  # type: ignore[index, union-attr, operator]
    return by_sample(model, batch)


def copy_teacher(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - copy.deepcopy(model)(batch[0] + 1)).square().sum(dim=1)


@pytest.mark.parametrize(("function", "fix"), [(fix_layer, "--params chooses"), (copy_teacher, "copy the model once")])
def test_what_cannot_be_done_with_the_model_names_what_can(function: Any, fix: str) -> None:
    with pytest.raises(TaskError, match="cannot take the data") as caught:
        Objective(net(), UNEVEN, objective=function)
    assert fix in caught.value.fix


@pytest.mark.parametrize("frozen", [False, True])
def test_data_that_require_gradients_still_do_in_every_pass(frozen: bool, tmp_path: Path) -> None:
    """Positions of atoms, which an energy is differentiated in for forces."""
    positions = [X[:6].clone().requires_grad_(), X[6:].clone().requires_grad_()]

    def force(model: nn.Module, batch: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(model(batch)[:, 0].sum(), batch, create_graph=True)
        return (slope - 1).square().sum(dim=1)

    def mean(model: nn.Module) -> Tensor:
        return torch.cat([force(model, part.detach().clone().requires_grad_()) for part in positions]).mean()

    data: Any = [(part,) for part in positions]
    if frozen:
        data = freeze(data, folder=tmp_path, as_items=True)
    objective = require_dense(data, lambda model, batch: force(model, batch[0]), mean)
    assert landscape.run(landscape.Eig(k=1), objective).trouble() is None
