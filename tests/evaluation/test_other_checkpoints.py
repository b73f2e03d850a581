"""Other checkpoints of the measured model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import CheckpointError, UsageError
from landscape.evaluation.other_checkpoints import find_trajectory, other_checkpoint
from landscape.objective import ObjectiveSource

Data = tuple[Tensor, Tensor]


def moved(by: float) -> nn.Sequential:
    net = tanh_net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += by
    return net


def test_its_weights_loss_and_digest(tmp_path: Path, classification: Data) -> None:
    objective, there = Objective(tanh_net(), [classification], "cross_entropy"), moved(0.1)
    torch.save({"state_dict": {f"module.{n}": t for n, t in there.state_dict().items()}}, tmp_path / "b.pt")
    other = other_checkpoint(objective, str(tmp_path / "b.pt"), "--towards")
    assert torch.allclose(other.theta, objective.theta + 0.1)
    assert other.loss() == float(Objective(there, [classification], "cross_entropy").value())
    assert other.digest == other_checkpoint(objective, there.state_dict(), "--towards").digest
    assert other.digest != other_checkpoint(objective, moved(0.2).state_dict(), "--towards").digest
    assert other.differing_tensors() == []
    with pytest.raises(CheckpointError, match="--towards a checkpoint of the same model"):
        other_checkpoint(objective, {"w": torch.zeros(2)}, "--towards")


def test_it_may_be_partial_and_hold_more_as_the_measured_one_may(tmp_path: Path, classification: Data) -> None:
    """What it lacks is that of the measured model; without the conditions it is refused."""
    state = {**moved(0.1).state_dict(), "criterion.center": torch.ones(2)}
    name = next(iter(state))
    del state[name]
    torch.save(state, tmp_path / "b.pt")
    here = {"partial": True, "ignore_tensors": ("criterion.*",)}
    objective = Objective(tanh_net(), [classification], "cross_entropy", source=ObjectiveSource(conditions=here))
    other = other_checkpoint(objective, str(tmp_path / "b.pt"), "--towards")
    moves = objective.space.unflatten(other.theta - objective.theta)
    assert {key: round(float(step.mean()), 5) for key, step in moves.items()} == {n: 0.1 * (n != name) for n in moves}
    for conditions in ({"partial": True}, {"ignore_tensors": ("criterion.*",)}):
        source = ObjectiveSource(conditions=conditions)
        objective = Objective(tanh_net(), [classification], "cross_entropy", source=source)
        with pytest.raises(CheckpointError, match="criterion.center|missing"):
            other_checkpoint(objective, str(tmp_path / "b.pt"), "--towards")


def test_the_same_kind_of_weights_is_read_from_it(tmp_path: Path, classification: Data) -> None:
    raw, averaged = moved(0.1).state_dict(), moved(0.3).state_dict()
    torch.save({"state_dict": raw, "state_dict_ema": averaged}, tmp_path / "b.pt")
    for weights, by in ((None, 0.1), ("ema", 0.3)):
        source = ObjectiveSource(conditions={"weights": weights})
        objective = Objective(tanh_net(), [classification], "cross_entropy", source=source)
        other = other_checkpoint(objective, str(tmp_path / "b.pt"), "--towards")
        assert torch.allclose(other.theta, objective.theta + by)


def test_buffers_count_for_the_digest_and_the_loss(classification: Data) -> None:
    def net(shift: float) -> nn.Module:
        model = nn.Sequential(tanh_net(), nn.BatchNorm1d(3), nn.Linear(3, 3))
        torch.manual_seed(0)
        nn.init.normal_(model[2].weight)
        model[1].running_mean += shift
        return model

    objective = Objective(net(0.0), [classification], "cross_entropy")
    same, other = (other_checkpoint(objective, net(shift).state_dict(), "--towards") for shift in (0.0, 1.0))
    assert same.digest != other.digest
    assert other.differing_tensors() == ["1.running_mean"]
    assert same.loss() == float(objective.value())
    assert other.loss() == float(Objective(net(1.0), [classification], "cross_entropy").value())
    assert list(other.statistics()) == ["1.running_mean", "1.running_var"]


def test_a_trajectory_is_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for name in ("step-10.pt", "step-9.pt", "step-100.pt", ".hidden.pt", "notes.txt", "step-9.landscape.h5", "a.png"):
        (tmp_path / name).touch()
    (tmp_path / "step-9.eig.safetensors").touch()
    (tmp_path / "logs").mkdir()
    (tmp_path / "step-11").mkdir()
    (tmp_path / "step-11" / "model.safetensors").touch()
    assert [Path(p).name for p in find_trajectory(str(tmp_path)).checkpoints] == [
        "step-9.pt",
        "step-10.pt",
        "step-11",
        "step-100.pt",
    ]
    with pytest.raises(UsageError, match="is not a folder"):
        find_trajectory(str(tmp_path / "notes.txt"))
