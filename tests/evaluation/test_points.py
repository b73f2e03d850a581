"""Losses and gradients at many points: together or apart, on any batches."""

from __future__ import annotations

import pytest
import torch
from conftest import SAMPLES, Splitter, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.evaluation import points

Data = tuple[Tensor, Tensor]


def block(objective: Objective, count: int) -> Tensor:
    noise = torch.randn(len(objective.theta), count, generator=torch.Generator().manual_seed(0))
    return objective.theta[:, None] * (1 + 0.1 * noise.to(objective.theta))


@pytest.mark.parametrize("together", [0, 1 << 30], ids=["apart", "together"])
def test_every_column_is_what_the_objective_says(
    classification: Data, split: Splitter, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "VECTORIZED_BYTES", together)
    objective = Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")
    thetas = block(objective, 4)
    values, gradients = points.values_and_gradients(objective, thetas)
    assert values.dtype == torch.float64
    assert gradients.shape == thetas.shape
    for column in range(4):
        value, gradient = objective.value_and_gradient(thetas[:, column])
        assert float(values[column]) == pytest.approx(float(value), rel=1e-13)
        assert torch.allclose(gradients[:, column], gradient, rtol=1e-12)
    assert torch.allclose(points.values(objective, thetas), values, rtol=1e-13)


@pytest.mark.parametrize("sample", ["digits-resnet", "charlm"])
def test_convolutions_batch_norm_and_attention_go_together(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = landscape.load(SAMPLES / f"{sample}.pt", limit=3, dtype="float64")
    thetas = block(objective, 3)
    monkeypatch.setattr(points, "VECTORIZED_BYTES", 0)
    apart, slopes = points.values_and_gradients(objective, thetas)
    monkeypatch.setattr(points, "VECTORIZED_BYTES", 1 << 40)
    calls = []
    plain = objective.batch_total
    monkeypatch.setattr(objective, "batch_total", lambda *a: calls.append(1) or plain(*a))
    together, gradients = points.values_and_gradients(objective, thetas)
    assert len(calls) == 1
    assert torch.allclose(apart, together, rtol=1e-11)
    assert torch.allclose(slopes, gradients, rtol=1e-8, atol=1e-13)


def test_a_model_that_cannot_be_vectorized_is_asked_point_by_point(classification: Data) -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x)
            return out if float(out.detach().sum()) > 0 else 2 * out

    objective = Objective(Choosing(), [classification], "cross_entropy", dtype="float64")
    thetas = block(objective, 3)
    values, gradients = points.values_and_gradients(objective, thetas)
    for column in range(3):
        value, gradient = objective.value_and_gradient(thetas[:, column])
        assert float(values[column]) == pytest.approx(float(value))
        assert torch.allclose(gradients[:, column], gradient)


def test_how_many_points_go_at_once_follows_from_their_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    assert points.points_per_pass(objective, 9) == 9
    large = landscape.load(SAMPLES / "digits-resnet.pt")
    large.micro_batch = 256
    assert 1 <= points.points_per_pass(large, 9) < 9  # 256 samples of 45 kB each
    monkeypatch.setattr(objective, "activation_bytes", 0)
    monkeypatch.setattr(points, "VECTORIZED_BYTES", 6 * objective.theta.nbytes)  # a point has parameters and a gradient
    assert points.points_per_pass(objective, 9) == 3
    monkeypatch.setattr(points, "VECTORIZED_BYTES", 1)
    assert points.points_per_pass(objective, 9) == 1
