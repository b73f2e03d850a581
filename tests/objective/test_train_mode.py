"""Tests of train mode, against the plain module in train mode with the same seeds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.per_sample.gradients import gradient_moments
from landscape.operators.gauss_newton import GaussNewtonOperator
from landscape.operators.hessian import HessianOperator

BATCHES = (0, 6, 10)  # where the batches begin and end


@pytest.fixture
def data() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(10, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (10,), generator=generator)
    return [(x[:6], y[:6]), (x[6:], y[6:])]


def net_with(*parts: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), *parts, nn.Tanh(), nn.Linear(5, 3)).double().eval()


NETS = {
    "batch norm": lambda: net_with(nn.BatchNorm1d(5)),
    "batch norm without running statistics": lambda: net_with(nn.BatchNorm1d(5, track_running_stats=False)),
    "dropout": lambda: net_with(nn.Dropout(0.4)),
    "both": lambda: net_with(nn.BatchNorm1d(5), nn.Dropout(0.4)),
}


def plain_gradient(net: nn.Module, data: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The mean loss and its gradient by torch alone; each batch's masks begin at the place of its first sample."""
    net.train()
    total = torch.zeros((), dtype=torch.float64)
    for begin, (x, y) in zip(BATCHES[:-1], data, strict=True):
        torch.manual_seed(begin)
        total = total + functional.cross_entropy(net(x), y, reduction="sum")
    mean = total / 10
    return mean.detach(), torch.cat([g.flatten() for g in torch.autograd.grad(mean, list(net.parameters()))])


@pytest.mark.parametrize("name", NETS)
def test_value_and_gradient_are_those_of_the_module_in_train_mode(name: str, data: list[tuple[Tensor, Tensor]]) -> None:
    net = NETS[name]()
    objective = Objective(net, data, "cross_entropy", dtype="float64", mode="train", micro_batch=2)
    value, gradient = plain_gradient(NETS[name](), data)
    assert objective.as_given
    assert any("in train mode batch statistics" in note for note in objective.notes) is not ("without" in name)
    for _ in range(2):  # every pass draws the same masks
        torch.testing.assert_close(objective.value(), value)
        torch.testing.assert_close(objective.gradient(), gradient)
    evaluated = Objective(net, data, "cross_entropy", dtype="float64")
    same = name == "batch norm without running statistics"  # it has no other mode
    assert (abs(float(evaluated.value() - value)) > 1e-3 * float(value)) is not same


@pytest.mark.parametrize("name", NETS)
def test_products_are_differences_of_the_gradient(name: str, data: list[tuple[Tensor, Tensor]]) -> None:
    objective = Objective(NETS[name](), data, "cross_entropy", dtype="float64", mode="train")
    direction = torch.linspace(-1, 1, objective.space.size, dtype=torch.float64)
    step = 1e-5 * direction
    up, down = (objective.gradient(objective.theta + sign * step) for sign in (1, -1))
    torch.testing.assert_close(HessianOperator(objective) @ direction, (up - down) / 2e-5, rtol=1e-5, atol=1e-7)
    assert torch.linalg.eigvalsh(GaussNewtonOperator(objective).to_dense()).min() > -1e-9


def test_nothing_of_the_module_changes(data: list[tuple[Tensor, Tensor]]) -> None:
    net = NETS["both"]()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    seed = torch.get_rng_state()
    landscape.run(landscape.Eig(k=1), Objective(net, data, "cross_entropy", mode="train"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(module.training for module in net.modules())
    assert torch.equal(torch.get_rng_state(), seed)


def test_a_module_that_keeps_parts_in_eval_mode_keeps_them(data: list[tuple[Tensor, Tensor]]) -> None:
    """Frozen BatchNorm, by an own `train()`, is the same in both modes."""

    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self[1].eval()
            return self

    torch.manual_seed(0)
    net = Frozen(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    train, evaluated = (Objective(net, data, "cross_entropy", dtype="float64", mode=m) for m in ("train", "eval"))
    assert not train.as_given
    torch.testing.assert_close(train.value(), evaluated.value())
    assert train.identity() != evaluated.identity()


def test_no_sample_has_a_loss_of_its_own(data: list[tuple[Tensor, Tensor]]) -> None:
    objective = Objective(NETS["dropout"](), data, "cross_entropy", dtype="float64", mode="train")
    with pytest.raises(TaskError, match="no sample has a loss"):
        gradient_moments(objective)


def test_an_objective_function_draws_the_same_masks_in_each_pass(data: list[tuple[Tensor, Tensor]]) -> None:
    """Two passes of a model under dropout, as in consistency losses, differ, and do so in the same way each time."""

    def consistency(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        return (model(batch[0]) - model(batch[0])).square().sum(), len(batch[0])

    objective = Objective(NETS["dropout"](), data, objective=consistency, dtype="float64", mode="train")
    net, total = NETS["dropout"]().train(), 0.0
    for begin, batch in zip(BATCHES[:-1], data, strict=True):
        torch.manual_seed(begin)
        total += float(consistency(net, batch)[0].detach())
    assert total > 0.1
    assert float(objective.value()) == pytest.approx(total / 10)
