"""Gradient measures against every sample's gradient, and all measures for several kinds of models."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import SAMPLES, Splitter, tanh_net
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Measures, Objective
from landscape.analyses.measures import MeasuresResult

Data = tuple[Tensor, Tensor]


class TestMeasures(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Measures:
        return Measures(draws=3, rtol=0.3)

    @pytest.fixture
    def objective(self, classification: Data) -> Objective:
        return Objective(tanh_net(), [classification], "cross_entropy")


def measured(objective: Objective, **options: Any) -> MeasuresResult:
    result: MeasuresResult = landscape.run(Measures(**options), objective)
    return result


def own_gradients(model: nn.Module, data: Data) -> Tensor:
    """Each sample's gradient, `(N, P)`, by a loop."""
    rows = []
    for x, y in zip(*data, strict=True):
        loss = functional.cross_entropy(model(x[None].double()), y[None])
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(rows)


def test_noise_scale_and_fisher_rao_norm_from_every_sample(classification: Data, split: Splitter) -> None:
    model = tanh_net().double()
    rows = own_gradients(model, classification)
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    result = measured(Objective(model, split(*classification), "cross_entropy", dtype="float64"), draws=0)
    assert result.noise_trace == pytest.approx(float(rows.var(dim=0).sum()), rel=1e-10)
    assert result.noise_scale == pytest.approx(
        float(rows.var(dim=0).sum() / rows.mean(dim=0).square().sum()), rel=1e-10
    )
    assert result.fisher_rao == pytest.approx(float((rows @ theta).square().mean().sqrt()), rel=1e-10)


def test_samples_are_taken_one_by_one_where_the_model_cannot_be_vectorized(classification: Data) -> None:
    class Choosing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tanh_net()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.net(x)
            return out if float(out.detach().sum()) > -1e9 else -out

    one, other = (
        measured(Objective(model, [classification], "cross_entropy", dtype="float64"), draws=0)
        for model in (Choosing(), tanh_net())
    )
    assert one.noise_trace == pytest.approx(other.noise_trace, rel=1e-12)
    assert one.fisher_rao == pytest.approx(other.fisher_rao, rel=1e-12)


def test_fisher_rao_of_a_homogeneous_net_is_that_of_its_outputs(generator: torch.Generator) -> None:
    """w . grad l = L <dl/df, f> for a ReLU net of L layers without biases (Liang et al. 2019, theorem 3.1)."""
    x, y = torch.randn(30, 6, generator=generator).double(), torch.randint(0, 3, (30,), generator=generator)
    torch.manual_seed(0)
    layers = [
        nn.Linear(6, 8, bias=False),
        nn.ReLU(),
        nn.Linear(8, 8, bias=False),
        nn.ReLU(),
        nn.Linear(8, 3, bias=False),
    ]
    model = nn.Sequential(*layers).double()
    output = model(x).detach()
    slope = output.softmax(1) - functional.one_hot(y, 3)
    exact = 3 * float((slope * output).sum(1).square().mean().sqrt())
    assert measured(Objective(model, [(x, y)], "cross_entropy", dtype="float64"), draws=0).fisher_rao == pytest.approx(
        exact
    )


def test_one_sample_has_no_noise(generator: torch.Generator) -> None:
    x = torch.randn(1, 4, generator=generator)
    result = measured(Objective(nn.Linear(4, 2), [(x, x[:, :2])], "mse"), draws=0)
    assert result.noise_scale is None
    assert result.noise_trace is None
    assert not result.trouble()


def test_convolutions_tokens_and_batch_norm_are_measured() -> None:
    for name, limit in (("digits-resnet", 20), ("charlm", 3)):
        result = measured(landscape.load(SAMPLES / f"{name}.pt", limit=limit), draws=1, max_products=24)
        numbers = (result.noise_scale, result.fisher_rao, result.relative_flatness, result.pac_bayes_sigma)
        assert all(value is not None and math.isfinite(value) for value in numbers), name
