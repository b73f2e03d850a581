"""A replica tracks its vector, or is found out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import TaskError
from landscape.evaluation.replica_check import tracks_weights
from landscape.objective import Replica

Data = tuple[Tensor, Tensor]


def normed() -> nn.Module:
    return nn.Sequential(tanh_net(), nn.BatchNorm1d(3))


def replica_of(objective: Objective, vector: Tensor) -> Replica:
    replica = objective.replica(vector)
    assert replica is not None
    return replica


@pytest.mark.parametrize("net", [tanh_net, normed], ids=["plain", "batch-norm"])
def test_a_good_copy_tracks_weights_and_keeps_its_statistics(
    classification: Data, net: Callable[[], nn.Module]
) -> None:
    objective = Objective(net(), [classification], "cross_entropy")
    vector = objective.theta.clone()
    replica = replica_of(objective, vector)
    statistics = {name: tensor.clone() for name, tensor in replica.model.named_buffers()}
    assert tracks_weights(replica, vector)
    assert all(torch.equal(statistics[name], tensor) for name, tensor in replica.model.named_buffers())


@pytest.mark.parametrize("name", ["0.weight", "0.bias", "2.weight", "2.bias"])
def test_a_copy_with_one_tensor_of_the_original_does_not(classification: Data, name: str) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    vector = objective.theta.clone()
    replica = replica_of(objective, vector)
    replica.model.get_parameter(name).data = objective.model.get_parameter(name).data
    assert not tracks_weights(replica, vector)


def test_a_copy_with_the_statistics_of_the_original_does_not(classification: Data) -> None:
    objective = Objective(normed(), [classification], "cross_entropy")
    vector = objective.theta.clone()
    replica = replica_of(objective, vector)
    replica.model.get_submodule("1").register_forward_pre_hook(
        lambda module, args: module.running_mean.zero_()  # type: ignore[union-attr, operator]
    )
    assert not tracks_weights(replica, vector)


def test_a_copy_that_fails_does_not(classification: Data) -> None:
    def fail(*arguments: object) -> None:
        raise TaskError("no")

    objective = Objective(tanh_net(), [classification], "cross_entropy")
    vector = objective.theta.clone()
    replica = replica_of(objective, vector)
    replica.model.register_forward_pre_hook(fail)
    assert not tracks_weights(replica, vector)


def test_nothing_is_said_of_a_loss_that_does_not_move(classification: Data) -> None:
    """A loss that no weight changes cannot show whether the copy uses the vector."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return 0 * self.weight + x[:, :3]

    objective = Objective(Constant(), [classification], "cross_entropy")
    vector = objective.theta.clone()
    assert not tracks_weights(replica_of(objective, vector), vector)
