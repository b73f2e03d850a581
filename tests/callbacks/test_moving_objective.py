"""An objective that follows a model in training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from training import dropout_net, samples

from landscape import Objective
from landscape.callbacks.moving_objective import MovingObjective
from landscape.errors import UsageError


def test_it_has_the_loss_of_the_model_at_each_moment() -> None:
    model, data = dropout_net(), samples()
    moving = MovingObjective(data, "cross_entropy", {"dtype": "float64"})
    for factor in (1.0, 1.5, -2.0):
        with torch.no_grad():
            model[0].weight.mul_(factor)
            model[1].running_mean.add_(factor)
        expected = Objective(copy.deepcopy(model), data, "cross_entropy", dtype="float64")
        assert float(moving.at(model).value()) == float(expected.value())


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["data-parallel", "compiled"])
def test_a_wrapped_model_is_measured_as_the_plain_one(wrap: Any) -> None:
    model, data = dropout_net(), samples()
    moving = MovingObjective(data, "cross_entropy", {})
    assert float(moving.at(wrap(model)).value()) == float(moving.at(model).value())


def test_the_data_of_a_shuffling_loader_are_the_same_at_each_step() -> None:
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(*samples()), batch_size=7, shuffle=True, generator=generator)
    before, moving, model = generator.get_state(), MovingObjective(loader, "cross_entropy", {}), dropout_net()
    values = [float(moving.at(model).value()) for _ in range(2)]
    assert values[0] == values[1]
    assert torch.equal(generator.get_state(), before)


class Rows(Dataset[Any]):
    """Samples that tell how often they were read."""

    def __init__(self) -> None:
        self.x, self.y = samples()
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.x[index], self.y[index]


def test_a_loader_is_read_once_and_only_as_far_as_the_limit() -> None:
    rows, model = Rows(), dropout_net()
    moving = MovingObjective(DataLoader(rows, batch_size=8), "cross_entropy", {"limit": 16})
    for _ in range(3):
        assert moving.at(model).count == 16
    assert rows.read == list(range(16))


def test_persistent_workers_go_on_with_the_pass_of_the_training() -> None:
    loader = DataLoader(TensorDataset(*samples()), batch_size=8, num_workers=1, persistent_workers=True)
    seen, moving, model = [], MovingObjective(loader, "cross_entropy", {}), dropout_net()
    for number, (x, _) in enumerate(loader):
        seen.append(x)
        if number == 1:
            moving.at(model)
    assert torch.equal(torch.cat(seen), samples()[0])


def test_a_preconditioner_is_read_anew_at_each_moment() -> None:
    model, step = dropout_net(), [1.0]

    def diagonal() -> dict[str, torch.Tensor]:
        return {name: torch.full_like(p, step[0]) for name, p in model.named_parameters()}

    moving = MovingObjective(samples(), "cross_entropy", {"preconditioner": diagonal})
    for value in (1.0, 4.0):
        step[0] = value
        assert set(moving.at(model).preconditioner.tolist()) == {value}


def test_it_computes_on_the_models_device_unless_told_otherwise() -> None:
    model = dropout_net()
    assert MovingObjective(samples(), None, {}).device_for(model) == "cpu"
    assert MovingObjective(samples(), None, {}).device_for(model.to("meta")) == "meta"
    assert MovingObjective(samples(), None, {"device": "cpu"}).device_for(model) == "cpu"
    assert MovingObjective(samples(), None, {}).device_for(object()) == "cpu"


@pytest.mark.parametrize(("option", "words"), [("limt", "did you mean limit"), ("share_memory", "no option")])
def test_an_unknown_option_is_refused_at_once(option: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MovingObjective(samples(), None, {option: True})
