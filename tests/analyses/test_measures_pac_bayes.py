"""The error of predictions, and the noise that it tolerates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import SAMPLES, Splitter, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Measures, Objective
from landscape.analyses.measures import MeasuresResult
from landscape.analyses.measures_pac_bayes import noisy_error

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> MeasuresResult:
    result: MeasuresResult = landscape.run(Measures(**options), objective)
    return result


def test_pac_bayes_sigma_is_where_the_error_has_risen_by_the_deviation() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=200)
    result = measured(objective, draws=8, deviation=0.2)
    assert result.error is not None
    assert result.pac_bayes_sigma is not None
    assert result.pac_bayes_magnitude_sigma is not None
    analysis = Measures(draws=8, deviation=0.2)
    for scaled, sigma in (("plain", result.pac_bayes_sigma), ("magnitude", result.pac_bayes_magnitude_sigma)):
        below, above = (noisy_error(analysis, objective, scaled, sigma * factor) for factor in (0.97, 1.03))
        assert below <= result.error + 0.2 <= above + 0.02
        assert below > result.error


def test_the_error_is_the_share_of_wrong_predictions(classification: Data, split: Splitter) -> None:
    x, y = classification
    model = tanh_net()
    wrong = float((model(x).argmax(1) != y).double().mean())
    assert measured(Objective(model, split(x, y), "cross_entropy"), draws=1).error == pytest.approx(wrong)
    yes = (y > 1).float()[:, None]
    one = nn.Linear(5, 1)
    expected = float(((one(x) > 0) != (yes > 0.5)).double().mean())
    assert measured(Objective(one, split(x, yes), "bce"), draws=1).error == pytest.approx(expected)


def test_regression_has_no_pac_bayes_sigma(generator: torch.Generator) -> None:
    x = torch.randn(10, 4, generator=generator)
    result = measured(Objective(nn.Linear(4, 2), [(x, x[:, :2])], "mse"))
    assert result.error is None
    assert result.pac_bayes_sigma is None
    assert result.noise_scale is not None
    assert result.draws is None


def test_a_sigma_that_does_not_exist_is_a_remark() -> None:
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.weight *= 1e-4
        model.bias.zero_()
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    objective = Objective(model, [(x, model(x).argmax(1))], "cross_entropy")
    result = measured(objective)
    assert result.error == 0
    assert result.pac_bayes_magnitude_sigma is None
    assert result.pac_bayes_sigma is not None
    assert "no pac bayes magnitude sigma" in result.remarks()[0]
