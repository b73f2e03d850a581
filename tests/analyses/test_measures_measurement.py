"""Gradient measures against every sample's gradient, and all measures for several kinds of models."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from analysis_contract import AnalysisContract
from conftest import SAMPLES, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Measures, Objective
from landscape.analyses.measures import MeasuresResult
from landscape.analyses.measures_gradients import gradient_measures

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


def test_the_noise_scale_is_the_trace_over_the_squared_gradient(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    result = measured(objective, draws=0)
    assert (result.noise_trace, result.fisher_rao) == gradient_measures(objective, result.gradient_norm)
    assert result.noise_scale == pytest.approx(result.noise_trace / float(objective.gradient().square().sum()))


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
