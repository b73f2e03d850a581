"""Sketches of gradients: linear, and as far apart as the gradients are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landscape.compute import budget
from landscape.objective.checks import gradient_sketch
from landscape.objective.checks.gradient_sketch import compress


@pytest.fixture(autouse=True)
def _small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LARGE_SIZE", 1000)
    monkeypatch.setattr(gradient_sketch, "SUMS", 1 << 9)
    monkeypatch.setattr(gradient_sketch, "CHUNK", 1 << 13)


def of_many(gradient: Tensor) -> Tensor:
    return compress(gradient, 10**6)


def test_gradients_of_small_models_and_of_short_tensors_stay_as_they_are() -> None:
    long, short = torch.randn(5000), torch.randn(16, 32)
    assert compress(long, 1000) is long
    assert of_many(short) is short


@pytest.mark.parametrize("size", [513, 5000, 1 << 13, (1 << 13) + 1, 3 * (1 << 13) + 700])
def test_sketches_are_linear(size: int) -> None:
    a, b = torch.randn(size, dtype=torch.float64), torch.randn(size, dtype=torch.float64)
    assert of_many(a).numel() == 1 << 9
    assert torch.allclose(of_many(2 * a - b), 2 * of_many(a) - of_many(b), atol=1e-12)


@pytest.mark.parametrize(
    "gradient",
    [
        torch.randn(100_000, generator=torch.Generator().manual_seed(1)),
        torch.ones(100_000),
        torch.tensor([1.0, -1.0]).repeat(50_000),
        torch.ones(2 * (1 << 13)).index_fill(0, torch.arange(1 << 13, 2 << 13), -1.0),
        torch.eye(400).reshape(400, 400),
    ],
    ids=["normal", "ones", "alternating", "chunks that cancel", "diagonal"],
)
def test_norms_are_kept(gradient: Tensor) -> None:
    assert float(of_many(gradient).norm()) == pytest.approx(float(gradient.norm()), rel=0.2)  # 3 standard deviations


def test_one_number_that_differs_is_seen() -> None:
    a = torch.randn(100_000)
    for place in (0, 511, 512, 8191, 8192, 99_999):
        b = a.clone()
        b[place] += 3.0
        assert float((of_many(a) - of_many(b)).norm()) == pytest.approx(3.0, rel=1e-3)
