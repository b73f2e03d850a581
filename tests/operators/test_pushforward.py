"""The derivative of the outputs along a direction, against the Jacobian."""

from __future__ import annotations

import pytest
import torch
from conftest import tanh_net
from oracles.dense import dense_jacobian
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import TaskError
from landscape.operators.pushforward import push_forward

Data = tuple[Tensor, Tensor]


def test_it_is_the_jacobian_times_the_direction(classification: Data) -> None:
    x, y = classification
    objective = Objective(tanh_net(), [(x, y)], "cross_entropy", dtype="float64")
    vector = torch.randn(39, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    output, tangent = push_forward(objective, next(objective.micro_batches()), vector)
    assert torch.allclose(output, tanh_net().double()(x.double()), rtol=1e-12)
    assert torch.allclose(tangent, dense_jacobian(tanh_net(), x) @ vector, rtol=1e-10, atol=1e-13)
    assert not output.requires_grad


def test_a_model_with_several_outputs_is_refused(classification: Data) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tanh_net()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.inner(x), x

    def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs[0], targets)

    objective = Objective(Two(), [classification], loss)
    with pytest.raises(TaskError, match="no single tensor"):
        push_forward(objective, next(objective.micro_batches()), objective.theta)
