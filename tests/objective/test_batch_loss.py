"""The gradient of a batch: tensor by tensor for large models, as one vector for others, and the same either way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape.compute import budget


class Tied(nn.Module):
    """Two layers with one weight, one parameter on which the loss does not depend, and one that is in it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 4), nn.Linear(4, 4)
        self.outer.weight = self.inner.weight
        self.unused, self.gain = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.gain * self.outer(torch.tanh(self.gain * self.inner(x)))
        return out


def test_the_gradient_of_a_large_model_is_that_of_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (torch.randn(6, 4), torch.randint(0, 4, (6,)))
    objective = landscape.Objective(Tied(), data, "cross_entropy", dtype="float64")
    batch = next(iter(objective.batches))
    value, flat = objective.batch_gradient(objective.theta, batch)
    monkeypatch.setattr(budget, "LARGE_SIZE", 4)
    for _ in range(3):  # memory that is used again is not zero
        large, by_tensor = objective.batch_gradient(objective.theta, batch)
        assert torch.allclose(by_tensor, flat, rtol=1e-13, atol=1e-15)
        assert torch.equal(objective.space.unflatten(by_tensor)["unused"], torch.zeros(3, dtype=torch.float64))
        assert float(large) == pytest.approx(float(value), rel=1e-14)
        by_tensor.fill_(torch.nan)
        del by_tensor


def test_visits_leave_out_what_the_loss_does_not_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (torch.randn(6, 4), torch.randint(0, 4, (6,)))
    objective = landscape.Objective(Tied(), data, "cross_entropy")
    seen: list[str] = []
    objective.visit_gradient(objective.theta, next(iter(objective.batches)), lambda name, _: seen.append(name))
    assert sorted(seen) == ["gain", "inner.bias", "inner.weight", "outer.bias"]
