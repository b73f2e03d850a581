"""Updates against the steps that torch's optimizers make, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.checkpoints.optimizer import adam_update
from landscape.errors import CheckpointError, UsageError
from landscape.evaluation.updates import adam_step, gradient_update, update_towards

Data = tuple[Tensor, Tensor]
RATE = 0.03


def trained(classification: Data, kind: Any = torch.optim.Adam, steps: int = 3, **options: Any) -> Any:
    """A net and its optimizer after some steps, float64."""
    net = tanh_net().double()
    optimizer = kind(net.parameters(), lr=RATE, **options)
    x, y = classification
    for _ in range(steps):
        _step(net, optimizer, x.double(), y)
    return net, optimizer


def _step(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()


def saved(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, data: Data) -> Objective:
    """The objective of a checkpoint with the optimizer's state."""
    (folder / "task.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "def build():\n    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()\n\n"
        f"def data():\n    return [torch.load({str(folder / 'data.pt')!r})]\n"
    )
    torch.save(data, folder / "data.pt")
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, folder / "a.pt")
    task = folder / "task.py"
    return landscape.load(
        folder / "a.pt", model=f"{task}:build", data=f"{task}:data", loss="cross_entropy", dtype="float64"
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param(torch.optim.Adam, {}, id="adam"),
        pytest.param(torch.optim.Adam, {"weight_decay": 0.1}, id="adam-with-decay"),
        pytest.param(torch.optim.AdamW, {"weight_decay": 0.1, "betas": (0.7, 0.9)}, id="adamw"),
        pytest.param(torch.optim.Adam, {"amsgrad": True, "eps": 1e-3}, id="amsgrad"),
    ],
)
def test_adam_s_update_is_the_step_that_torch_makes_next(
    tmp_path: Path, classification: Data, kind: Any, options: dict[str, Any]
) -> None:
    net, optimizer = trained(classification, kind, **options)
    objective = saved(tmp_path, net, optimizer, classification)
    update = adam_step(objective)
    before = torch.cat([p.detach().reshape(-1).clone() for p in net.parameters()])
    _step(net, optimizer, classification[0].double(), classification[1])
    after = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    assert torch.allclose(update.direction, (before - after) / RATE, rtol=1e-7, atol=1e-9)
    assert update.rate == RATE
    assert update.gradient_product == pytest.approx(float(objective.gradient() @ update.direction))
    assert "a.pt" in update.notes[0]


def test_groups_move_at_their_own_rates(classification: Data) -> None:
    net = tanh_net().double()
    named = dict(net.named_parameters())
    first = [(n, p) for n, p in named.items() if n.startswith("0")]
    second = [(n, p) for n, p in named.items() if n.startswith("2")]
    optimizer = torch.optim.Adam([{"params": first, "lr": 0.1}, {"params": second, "lr": 0.02}])
    x, y = classification
    _step(net, optimizer, x.double(), y)
    state, before = copy.deepcopy(optimizer.state_dict()), {n: p.detach().clone() for n, p in named.items()}
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x.double()), y).backward()
    gradients = {n: p.grad.clone() for n, p in named.items() if p.grad is not None}
    optimizer.step()
    update = adam_update(state, before, gradients, "a.pt")
    assert update.rate == 0.1
    for name, parameter in named.items():
        assert torch.allclose(0.1 * update.tensors[name], before[name] - parameter.detach(), rtol=1e-9)


def test_parameters_without_moments_stay(tmp_path: Path, classification: Data) -> None:
    net, optimizer = trained(classification)
    state = optimizer.state_dict()
    del state["state"][0]
    torch.save({"model": net.state_dict(), "optimizer": state}, tmp_path / "a.pt")
    objective = saved(tmp_path, net, optimizer, classification)
    torch.save({"model": net.state_dict(), "optimizer": state}, tmp_path / "a.pt")
    update = adam_step(objective)
    assert not update.direction[:20].any()
    assert update.direction[20:].all()
    assert any("no moments of 0.weight" in note for note in update.notes)


def test_a_decay_that_may_be_either_is_noted(classification: Data) -> None:
    net, optimizer = trained(classification, weight_decay=0.1)
    state = optimizer.state_dict()
    del state["param_groups"][0]["decoupled_weight_decay"]
    named = dict(net.named_parameters())
    gradients = {name: torch.ones_like(parameter) for name, parameter in named.items()}
    assert adam_update(state, named, gradients, "a.pt").assumes_decoupled
    assert not adam_update(optimizer.state_dict(), named, gradients, "a.pt").assumes_decoupled


def test_moments_of_another_shape_are_refused(classification: Data) -> None:
    net, optimizer = trained(classification)
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0]["exp_avg"] = torch.zeros(2)
    named = dict(net.named_parameters())
    with pytest.raises(CheckpointError, match=r"no moments that fit 0.weight: exp_avg, exp_avg_sq"):
        adam_update(state, named, {n: torch.ones_like(p) for n, p in named.items()}, "a.pt")


def test_sgd_has_no_update_of_adam(tmp_path: Path, classification: Data) -> None:
    net, optimizer = trained(classification, torch.optim.SGD, momentum=0.9)
    objective = saved(tmp_path, net, optimizer, classification)
    with pytest.raises(CheckpointError, match=r"a.pt: its optimizer state is not Adam's"):
        adam_step(objective)


def test_without_a_checkpoint_there_is_no_state(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(CheckpointError, match=r"no checkpoint is known(.|\n)*--update gradient"):
        adam_step(objective)


def test_the_gradient_s_slope_is_its_squared_length(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    update = gradient_update(objective)
    assert update.length == pytest.approx(float(objective.gradient().norm()), rel=1e-12)
    assert update.gradient_product == pytest.approx(update.length**2, rel=1e-12)


def test_an_update_towards_a_checkpoint_reaches_it_with_a_step_of_1(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    there = {name: tensor + 0.1 for name, tensor in tanh_net().state_dict().items()}
    update = update_towards(objective, there)
    assert torch.allclose(objective.theta - update.direction, objective.theta + 0.1, atol=1e-6)
    assert update.gradient_product is update.rate is None


def test_the_same_weights_are_no_update(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    with pytest.raises(UsageError, match=r"no update: a state dict has the same weights"):
        update_towards(objective, tanh_net().state_dict())


def test_a_gradient_of_zero_is_no_update() -> None:
    x, y = torch.eye(4), torch.zeros(4, 1)
    net = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(net.weight)
    with pytest.raises(UsageError, match="the gradient is zero"):
        gradient_update(Objective(net, [(x, y)], "mse"))
