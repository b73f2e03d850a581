"""Squares of samples' gradients and their parts along the weights, against a loop with autograd."""

from __future__ import annotations

import pytest
import torch
from conftest import Splitter, tanh_net
from torch import Tensor, nn
from torch.nn import functional

from landscape import Objective
from landscape.evaluation.per_sample import gradients
from landscape.evaluation.per_sample.gradients import gradient_moments, sample_gradients

Data = tuple[Tensor, Tensor]


def loop(net: nn.Module, data: Data) -> Tensor:
    """The gradient of each sample's loss, `(N, P)`."""
    rows = []
    for x, y in zip(*data, strict=True):
        loss = functional.cross_entropy(net(x[None]), y[None], reduction="sum")
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(net.parameters()))]))
    return torch.stack(rows)


def test_moments_are_those_of_a_loop_over_samples(classification: Data, split: Splitter) -> None:
    net = tanh_net().double()
    x, y = classification[0].double(), classification[1]
    rows = loop(net, (x, y))
    theta = torch.cat([parameter.detach().reshape(-1) for parameter in net.parameters()])
    squares, along = gradient_moments(Objective(net, split(x, y), "cross_entropy", dtype="float64"))
    assert float(squares) == pytest.approx(float(rows.square().sum()), rel=1e-12)
    assert float(along) == pytest.approx(float((rows @ theta).square().sum()), rel=1e-12)


def test_chunks_change_nothing(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    whole = gradient_moments(objective)
    monkeypatch.setattr(gradients, "CHUNK_BYTES", 5 * objective.theta.nbytes)
    assert torch.allclose(torch.stack(gradient_moments(objective)), torch.stack(whole), rtol=1e-13)


def test_a_model_that_cannot_be_vectorized_is_differentiated_sample_by_sample(classification: Data) -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tanh_net()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.net(x if float(x.sum()) > 1e9 else 1 * x)
            return out

    objective = Objective(Branching(), [classification], "cross_entropy", dtype="float64")
    rows = sample_gradients(objective, next(iter(objective.batches)))
    assert torch.allclose(rows, loop(tanh_net().double(), (classification[0].double(), classification[1])))
