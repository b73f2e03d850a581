"""The working copy: its vector, its layouts and its statistics at a point, and the model that computes with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import UsageError
from landscape.evaluation.working_copy import WorkingCopy
from landscape.network.batch_norm import StatisticsInterpolation

Data = tuple[Tensor, Tensor]


def image_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))


@pytest.fixture
def images() -> Objective:
    x = torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    return Objective(image_net(), (x, torch.arange(6) % 5), "cross_entropy")


def directions_of(objective: Objective) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(objective.space.size, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_copy_s_parameters_are_theta_plus_the_combination(images: Objective, channels_last: bool) -> None:
    copy, directions = WorkingCopy(images), directions_of(images)
    copy.use_layout(channels_last=channels_last)
    copy.move_to(directions, [0.5, -2.0])
    wanted = images.space.unflatten(images.theta + 0.5 * directions[0] - 2.0 * directions[1])
    assert copy.replica is not None
    for name, parameter in copy.replica.model.named_parameters():
        assert torch.allclose(parameter, wanted[name], rtol=1e-6), name
    weight = copy.replica.model.get_parameter("0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_only_weights_of_convolutions_have_a_layout(images: Objective, classification: Data) -> None:
    assert WorkingCopy(images).convolutions == {"0.weight"}
    assert WorkingCopy(Objective(tanh_net(), [classification], "cross_entropy")).convolutions == set()


def test_its_output_is_the_model_s_at_the_point(images: Objective) -> None:
    copy, directions = WorkingCopy(images), directions_of(images)
    copy.move_to(directions, [0.1, 0.1])
    batch = next(iter(images.batches))
    with torch.no_grad():
        wanted = images.batch_output(images.theta + 0.1 * directions[0] + 0.1 * directions[1], batch)
        assert torch.allclose(copy.output(batch), wanted, atol=1e-5)


def test_interpolated_statistics_are_written_into_the_copy_alone(images: Objective) -> None:
    copy = WorkingCopy(images)
    here = {name: t.clone() for name, t in images.model.named_buffers() if t.is_floating_point()}
    there = {name: tensor + 2 for name, tensor in here.items()}
    copy.use_statistics((StatisticsInterpolation(here, [there]), np.array([[1.0]])), [0.25])
    assert copy.replica is not None
    buffers = dict(copy.replica.model.named_buffers())
    assert torch.allclose(buffers["1.running_mean"], here["1.running_mean"] + 0.5)
    assert torch.equal(dict(images.model.named_buffers())["1.running_mean"], here["1.running_mean"])


def test_a_model_that_cannot_be_copied_is_called_at_the_vector(classification: Data) -> None:
    class Stubborn(nn.Sequential):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise RuntimeError("no copies")

    objective = Objective(Stubborn(*tanh_net()), [classification], "cross_entropy")
    copy = WorkingCopy(objective)
    assert copy.replica is None
    copy.move_to([torch.ones_like(objective.theta)], [0.5])
    batch = next(iter(objective.batches))
    assert torch.equal(copy.output(batch), objective.batch_output(objective.theta + 0.5, batch))
    with pytest.raises(UsageError, match="cannot be copied"):
        copy.use_statistics("recompute", [0.0])
