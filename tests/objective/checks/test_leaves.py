"""Parameters of losses and parameters that losses keep are part of theta; other tensors are named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from contract_breakers import BATCHES, Net, Rounded, X, Y
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape.errors import TaskError


def dense_hessian(parts: list[nn.Module], loss: Callable[..., Tensor]) -> Tensor:
    """The Hessian in all parameters of the modules, in float64, by plain autograd."""
    copies = [copy.deepcopy(part).double() for part in parts]
    parameters = [p for part in copies for p in part.parameters()]
    gradients = torch.autograd.grad(loss(*copies), parameters, create_graph=True)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True) for entry in flat]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])


def leading(objective: landscape.Objective) -> float:
    return float(landscape.run(landscape.Eig(k=1), objective).eigenvalues[0])


class Uncertainty(nn.Module):
    """A learned weight of the loss (Kendall, Gal and Cipolla 2018), and a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.log_variance = nn.Parameter(torch.tensor(0.3))
        self.mix = nn.Linear(3, 3)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.exp(-self.log_variance) * functional.cross_entropy(self.mix(output), target) + self.log_variance


def test_the_parameters_of_a_loss_are_part_of_theta() -> None:
    model, loss = Net(), Uncertainty()
    objective = landscape.Objective(model, BATCHES, loss, dtype="float64")
    assert objective.space.names[-3:] == ("loss.log_variance", "loss.mix.weight", "loss.mix.bias")
    expected = dense_hessian([model, loss], lambda net, criterion: criterion(net(X.double()), Y))
    assert leading(objective) == pytest.approx(float(torch.linalg.eigvalsh(expected)[-1]), rel=1e-6)
    surface = landscape.run(landscape.Surface(grid=3), objective)
    assert surface.loss[1, 1] == pytest.approx(objective.reference.loss, rel=1e-9)
    assert any("the loss's own parameters too: loss.log_variance" in note for note in objective.notes)


def test_the_parameters_of_a_loss_may_be_left_out() -> None:
    objective = landscape.Objective(Net(), BATCHES, Uncertainty(), params=("a.*", "b.*"), dtype="float64")
    expected = dense_hessian([Net()], lambda net: Uncertainty().double().requires_grad_(False)(net(X.double()), Y))
    assert leading(objective) == pytest.approx(float(torch.linalg.eigvalsh(expected)[-1]), rel=1e-6)


def test_a_model_with_a_part_called_loss_keeps_its_names() -> None:
    model = nn.Sequential()
    model.add_module("loss", nn.Linear(5, 3))
    objective = landscape.Objective(model, BATCHES, Uncertainty())
    assert objective.space.names[0] == "loss.weight"
    assert objective.space.names[-1] == "criterion.mix.bias"


class KeepsAll:
    """Cross-entropy with a penalty of the parameters, which were taken out of the model before."""

    def __init__(self, net: nn.Module, penalty: Callable[[list[Tensor]], Any]) -> None:
        self.kept, self.penalty = list(net.parameters()), penalty

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target) + self.penalty(self.kept)


PENALTIES: dict[str, Callable[[nn.Module], Callable[[Tensor, Tensor], Tensor]]] = {
    "squares, when called": lambda net: (
        lambda o, t: functional.cross_entropy(o, t) + 0.01 * sum((p**2).sum() for p in net.parameters())
    ),
    "squares of a list kept": lambda net: KeepsAll(net, lambda kept: 0.01 * sum((p**2).sum() for p in kept)),
    "of one weight kept": lambda net: (
        lambda o, t, kept=net.b.weight: functional.cross_entropy(o, t) + 0.1 * torch.linalg.matrix_norm(kept) ** 3
    ),
    "in a list of torch's": lambda net: KeepsAll(net, lambda kept: torch.cat([p.flatten() for p in kept]).norm() ** 3),
}


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=list(PENALTIES))
def test_penalties_follow_theta(penalty: Callable[[nn.Module], Any]) -> None:
    model = Net()
    objective = landscape.Objective(model, BATCHES, penalty(model), dtype="float64")
    expected = dense_hessian([model], lambda net: penalty(net)(net(X.double()), Y))
    assert leading(objective) == pytest.approx(float(torch.linalg.eigvalsh(expected)[-1]), rel=1e-6)
    direction = torch.ones_like(objective.theta) * 0.1
    moved = copy.deepcopy(model).double()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += 0.1
    there = float(penalty(moved)(moved(X.double()), Y).detach())
    assert float(objective.value(objective.theta + direction)) == pytest.approx(there, rel=1e-9)


def test_the_user_s_model_and_gradients_are_as_before() -> None:
    model, temperature = Net(), nn.Parameter(torch.tensor(0.5))
    kept = tuple(model.parameters())
    model.a.weight.grad, temperature.grad = torch.ones(4, 5), torch.tensor(7.0)
    loss = lambda o, t: functional.cross_entropy(o * temperature, t) + sum((p**2).sum() for p in kept)  # noqa: E731
    before = [p.clone() for p in kept]
    objective = landscape.Objective(model, BATCHES, loss)
    landscape.run(landscape.Eig(k=1), objective)
    assert all(a is b for a, b in zip(model.parameters(), kept, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))
    assert torch.equal(model.a.weight.grad, torch.ones(4, 5))
    assert model.b.weight.grad is None
    assert float(temperature.grad) == 7


def test_a_tensor_that_is_no_parameter_of_the_model_stays_fixed_and_is_named() -> None:
    temperature = nn.Parameter(torch.tensor(0.5))
    objective = landscape.Objective(Net(), BATCHES, lambda o, t: functional.cross_entropy(o * temperature, t))
    assert objective.theta.numel() == 39
    assert any("no parameters of the model, and stay fixed: ()" in note for note in objective.notes)


def test_a_parameter_that_cannot_follow_theta_is_refused_by_name() -> None:
    """Nothing can take the place of an argument of a custom function."""
    model = Net()
    kept = model.b.weight
    with pytest.raises(TaskError, match=r"holds the parameter b.weight itself.*\n.*\n.*model.parameters\(\)"):
        landscape.Objective(
            model,
            BATCHES,
            lambda o, t: functional.cross_entropy(o, t) + Rounded.apply(kept).sum(),  # type: ignore[no-untyped-call]
        )


@pytest.mark.parametrize("analysis", [landscape.Eig(k=1, operator="ggn"), landscape.Memorization(labels="gold")])
def test_what_takes_the_loss_as_a_function_of_the_output_refuses_penalties(analysis: Any) -> None:
    model = Net()
    objective = landscape.Objective(model, BATCHES, PENALTIES["squares, when called"](model))
    with pytest.raises(TaskError, match="depends on the parameters themselves"):
        landscape.run(analysis, objective)


def test_flat_parameters_of_several_shapes_are_measured_like_autograd() -> None:
    """The trace, as a second quantity, of model and loss together."""
    model, loss = Net(), Uncertainty()
    objective = landscape.Objective(model, BATCHES, loss, dtype="float64")
    expected = dense_hessian([model, loss], lambda net, criterion: criterion(net(X.double()), Y))
    result = landscape.run(landscape.Trace(rtol=0.01), objective)
    half = (result.interval[1] - result.interval[0]) / 2
    assert result.trace == pytest.approx(float(expected.trace()), abs=2 * half + 1e-9)
    assert np.isfinite(result.trace)
