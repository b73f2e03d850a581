"""Which way the diagonal of a Hessian is estimated, by what its first probes tell, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from torch import Tensor, nn

import landscape
from landscape import Diagonal, Objective
from landscape.analyses import diagonal_split as module
from landscape.analyses.diagonal_split import PILOT
from landscape.operators import GaussNewtonOperator, HessianOperator

Data = tuple[Tensor, Tensor]


@contextmanager
def counted_columns(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Counts the columns that are multiplied by H and by G."""
    counts = {"hessian": 0, "ggn": 0}
    for kind in (HessianOperator, GaussNewtonOperator):

        def matmat(self: Any, block: Tensor, inner: Any = kind.matmat) -> Tensor:
            counts[self.name] += block.shape[1]
            product: Tensor = inner(self, block)
            return product

        monkeypatch.setattr(kind, "matmat", matmat)
    yield counts


def net(activation: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 40), activation, nn.Linear(40, 30), activation, nn.Linear(30, 3))


def fitted(activation: nn.Module, data: Data) -> Objective:
    model = net(activation).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data[0].double()), data[1]).backward()
        optimizer.step()
    return Objective(model, [data], "cross_entropy", dtype="float64")


def test_products_of_both_matrices_are_counted(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = fitted(nn.Tanh(), classification)
    with counted_columns(monkeypatch) as counts:
        result = landscape.run(Diagonal(rtol=0.1), objective)
    assert result.known_trace is not None
    assert counts["hessian"] == counts["ggn"] == result.products


def test_blocks_that_are_zero_take_two_probes(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = fitted(nn.ReLU(), classification)
    with counted_columns(monkeypatch) as counts:
        result = landscape.run(Diagonal(rtol=0.01), objective)
    assert counts["hessian"] == counts["ggn"] == result.products == PILOT + 2 + 2 * 3
    assert result.relative_error < 1e-8
    dense = HessianOperator(objective).to_dense().diag()
    np.testing.assert_allclose(result.diagonal, dense, rtol=1e-6, atol=1e-10)


def test_a_hessian_unlike_its_gauss_newton_part_is_multiplied_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses far from a fit: the rest spreads as much as the whole."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(30, 5, generator=generator), 50 * torch.randn(30, 3, generator=generator)
    objective = Objective(net(nn.Tanh()), [data], "mse", dtype="float64")
    with counted_columns(monkeypatch) as counts:
        result = landscape.run(Diagonal(rtol=0.3), objective)
    assert result.known_trace is None
    assert counts["ggn"] == PILOT + 2  # those of the first layer are not zero
    assert counts["hessian"] == result.products
    exact = HessianOperator(objective).to_dense().diag().numpy()
    assert np.linalg.norm(result.diagonal - exact) < 0.6 * np.linalg.norm(exact)


@pytest.mark.parametrize("limit", [8, 15])
def test_few_products_are_not_spent_on_probes(classification: Data, limit: int) -> None:
    result = landscape.run(Diagonal(max_products=limit), fitted(nn.Tanh(), classification))
    assert result.products == limit
    assert result.known_trace is None
    assert result.trouble()


def test_a_large_model_is_split_without_probes(classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_large", lambda size: True)
    objective = fitted(nn.Tanh(), classification)
    result = landscape.run(Diagonal(rtol=0.3), objective)
    assert result.known_trace is not None
    assert not result.trouble()


@pytest.mark.slow
def test_the_convolutions_of_a_resnet_have_no_rest() -> None:
    objective = landscape.load(SAMPLES / "digits-resnet.pt", limit=16)
    result = landscape.run(Diagonal(), objective)
    assert result.relative_error < 1e-5
    assert result.known_trace == pytest.approx(result.trace, rel=1e-5)


def test_many_outputs_leave_products_of_the_hessian() -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 40)
    data = torch.randn(30, 3, generator=generator), torch.arange(30)
    objective = Objective(model, [data], "cross_entropy", dtype="float64")
    result = landscape.run(Diagonal(rtol=0.3), objective)
    assert result.known_trace is None
    exact = HessianOperator(objective).to_dense().diag().numpy()
    assert np.linalg.norm(result.diagonal - exact) < 0.6 * np.linalg.norm(exact)
