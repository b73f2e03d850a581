"""The model as a function of theta: the user's module is left alone, and gradients are there when it needs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.data.batches import Batch
from landscape.errors import TaskError

Data = tuple[Tensor, Tensor]


class Everything(nn.Module):
    """BatchNorm, dropout, a frozen layer, an integer buffer and mixed modes: all that could be disturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.Linear(4, 3).requires_grad_(False)
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.dropout(self.norm(self.first(x))))


def test_measuring_changes_nothing_in_the_user_s_model(classification: Data) -> None:
    torch.manual_seed(0)
    model = Everything()
    model.norm.eval()  # the rest is in training mode
    model.first.weight.grad = torch.ones_like(model.first.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pointers = {name: tensor.data_ptr() for name, tensor in model.named_parameters()}
    generator = torch.get_rng_state()
    objective = Objective(model, [classification], "cross_entropy")
    objective.value(objective.theta * 2)
    objective.gradient()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {name: tensor.data_ptr() for name, tensor in model.named_parameters()} == pointers
    assert [module.training for module in (model, model.norm, model.dropout)] == [True, False, True]
    assert torch.equal(model.first.weight.grad, torch.ones(4, 5))
    assert not model.frozen.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), generator)


def test_later_training_of_the_model_does_not_move_the_objective(classification: Data) -> None:
    model = tanh_net()
    objective = Objective(model, [classification], "cross_entropy")
    before = float(objective.value())
    with torch.no_grad():
        model[0].weight += 1
    assert float(objective.value()) == before


def test_a_failing_forward_pass_restores_the_mode(classification: Data) -> None:
    model = tanh_net().train()
    with pytest.raises(TaskError, match=r"the model cannot take the data: RuntimeError.*\n.*inputs of \(8, 3\)"):
        Objective(model, [(classification[0][:, :3], classification[1])], "cross_entropy")
    assert model.training


def test_other_errors_of_the_model_pass_through(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")

    def broken(batch: Batch) -> Tensor:
        raise RuntimeError("a shape is wrong")

    with pytest.raises(RuntimeError, match="a shape is wrong"):
        objective.accumulate(broken)


def test_inputs_may_be_tuples_or_dictionaries(classification: Data) -> None:
    class Two(nn.Linear):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(a - b)

    x, y = classification
    torch.manual_seed(0)
    model = Two(5, 3)
    by_order = Objective(model, [((x, x.flip(1)), y)], "cross_entropy")
    by_name = Objective(model, [({"b": x.flip(1), "a": x}, y)], "cross_entropy")
    assert float(by_order.value()) == float(by_name.value())


class Forces(nn.Module):
    """The slope of a net's output in its inputs, as forces are the slope of an energy."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "torch.func":
            return torch.func.grad(lambda z: self.net(z).sum())(x)
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)
        return slope


class WithoutGradients(nn.Module):
    """A model that computes another function while gradients are not recorded, as torch's attention may."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.net(x)
        return output if output.requires_grad else 1.1 * output


@pytest.fixture
def regression(generator: torch.Generator) -> list[Data]:
    """40 samples of two features in two ragged batches."""
    x, y = torch.rand(40, 2, generator=generator).double(), torch.rand(40, 2, generator=generator).double()
    return [(x[:25], y[:25]), (x[25:], y[25:])]


@pytest.mark.parametrize("how", ["torch.autograd", "torch.func"])
class TestAModelThatDifferentiatesInItsInputs:
    def expected(self, how: str, data: list[Data]) -> float:
        """The mean squared error of d/dx w2 tanh(W1 x + b1) = W1' (w2 (1 - tanh^2)), by hand."""
        first, _, last = Forces(how).double().net
        x, y = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
        slope = ((1 - torch.tanh(first(x)) ** 2) * last.weight) @ first.weight
        return float((slope - y).square().mean().detach())

    def test_its_value_needs_no_graph_of_the_caller(self, regression: list[Data], how: str) -> None:
        objective = Objective(Forces(how), regression, "mse", dtype="float64", device="cpu")
        value = objective.value()
        assert not value.requires_grad
        assert float(value) == pytest.approx(self.expected(how, regression), rel=1e-12)
        assert float(objective.value_and_gradient()[0]) == pytest.approx(float(value), rel=1e-12)

    def test_nothing_that_is_computed_under_no_grad_holds_a_graph(self, regression: list[Data], how: str) -> None:
        objective = Objective(Forces(how), regression, "mse", dtype="float64", device="cpu")
        batch = next(iter(objective.batches))
        named = objective.space.unflatten(objective.theta)
        with torch.no_grad():
            for theta in (objective.theta, named):
                assert not objective.batch_total(theta, batch).requires_grad
                assert not objective.batch_output(theta, batch).requires_grad

    @pytest.mark.parametrize(
        "analysis",
        [landscape.Sharpness(rho=(0.05,), draws=10), landscape.Surface(grid="3x3"), landscape.Flatness()],
        ids=["sharpness", "surface", "flatness"],
    )
    def test_it_can_be_measured(self, regression: list[Data], how: str, analysis: Any) -> None:
        objective = Objective(Forces(how), regression, "mse", dtype="float64", device="cpu")
        losses = np.ravel(landscape.run(analysis, objective).loss)
        assert losses[len(losses) // 2] == pytest.approx(self.expected(how, regression), rel=1e-6)


def test_the_function_with_gradients_is_measured_in_every_pass(regression: list[Data]) -> None:
    objective = Objective(WithoutGradients(), regression, "mse", dtype="float64", device="cpu")
    assert objective.function.needs_gradients
    x, y = torch.cat([x for x, _ in regression]), torch.cat([y for _, y in regression])
    expected = float((WithoutGradients().double().net(x) - y).square().mean().detach())
    replica = objective.replica(objective.theta.clone())
    assert replica is not None
    with torch.no_grad():
        batches = list(objective.batches)
        copied = sum(objective.loss_total(replica.output(batch), batch) for batch in batches) / objective.count
    assert float(objective.value()) == pytest.approx(expected, rel=1e-12)
    assert float(copied) == pytest.approx(expected, rel=1e-12)
    assert not copied.requires_grad  # type: ignore[union-attr]


def test_a_plain_model_is_evaluated_without_gradients(classification: Data) -> None:
    assert not Objective(tanh_net(), [classification], "cross_entropy").function.needs_gradients
