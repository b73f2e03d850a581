"""Errors by samples and by groups of samples, also where samples have no losses of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import tanh_net
from oracles.dense import dense_hessian
from small_sensitivities import directions
from torch import Tensor

import landscape
from landscape import Objective, Sensitivity

Data = tuple[Tensor, Tensor]


def test_errors_are_those_of_independent_samples(classification: Data) -> None:
    """With a group for each sample all standard errors are spreads of samples over the root of their number."""
    objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64")
    x, y = classification
    analysis = Sensitivity(bits=(3, 2), sample_groups=24)
    result = landscape.run(analysis, objective)
    forecasts, reals = [], []
    for one in zip(x.split(1), y.split(1), strict=True):
        alone = Objective(tanh_net(), [one], "cross_entropy", dtype="float64")
        dense, gradient, loss = dense_hessian(tanh_net(), [one]), alone.gradient(), float(alone.value())
        moves = directions(analysis, objective)
        forecasts.append([float(gradient @ d + d @ dense @ d / 2) for d in moves])
        reals.append([float(alone.value(objective.theta + d)) - loss for d in moves])

    def error(rows: np.ndarray) -> np.ndarray:
        spread: np.ndarray = rows.std(axis=0, ddof=1) / 24**0.5
        return spread

    forecast, real = np.array(forecasts), np.array(reals)
    np.testing.assert_allclose(result.change_forecast_se, error(forecast), rtol=1e-8)
    np.testing.assert_allclose(result.change_real_se, error(real), rtol=1e-8)
    np.testing.assert_allclose(result.change_gap_se, error(real - forecast), rtol=1e-8)
    np.testing.assert_allclose(result.kind_sum_se, error(real.reshape(24, 2, 2).sum(axis=2)), rtol=1e-8)
    few = landscape.run(Sensitivity(bits=(3, 2), sample_groups=5), objective)
    np.testing.assert_allclose(few.change_real_se, result.change_real_se, rtol=1e-12)  # always by the samples
    assert abs(few.change_forecast_se / result.change_forecast_se - 1).max() > 0.01  # by groups


def test_errors_of_groups_agree_with_those_of_samples(generator: torch.Generator) -> None:
    data = torch.randn(640, 5, generator=generator), torch.randint(0, 3, (640,), generator=generator)
    objective = Objective(tanh_net(), [data], "cross_entropy")
    few = landscape.run(Sensitivity(bits=(4,), sample_groups=32), objective)
    every = landscape.run(Sensitivity(bits=(4,), sample_groups=640), objective)
    np.testing.assert_allclose(few.change_forecast_se, every.change_forecast_se, rtol=0.5)  # 4 / sqrt(2 x 31)
    np.testing.assert_allclose(few.change_forecast, every.change_forecast, rtol=1e-3)


def contrast(output: Tensor, target: Tensor) -> Tensor:
    """A loss of whole batches."""
    return ((output - output.mean(0) - target[:, None]) ** 2).mean()


def test_where_samples_have_no_losses_batches_tell_the_errors(classification: Data) -> None:
    x, y = classification
    batches = list(zip(x.split(4), y.double().split(4), strict=True))
    objective = Objective(tanh_net(), batches, contrast, dtype="float64")
    assert objective.as_given
    analysis = Sensitivity(bits=(3,), sample_groups=32)
    result, loss = landscape.run(analysis, objective), float(objective.value())
    moves = directions(analysis, objective)
    real = [float(objective.value(objective.theta + d)) - loss for d in moves]
    np.testing.assert_allclose(result.change_real, real, rtol=1e-9)
    assert any("samples have no losses of their own here: all errors are those of 6 groups" in n for n in result.notes)
    model = tanh_net().double()
    losses = []
    for move in (torch.zeros_like(moves[0]), moves[0]):
        state = objective.space.unflatten(objective.theta + move)
        outputs = [torch.func.functional_call(model, state, (b.double(),)) for b, _ in batches]
        losses.append([float(contrast(out, t)) for out, (_, t) in zip(outputs, batches, strict=True)])
    differences = np.subtract(losses[1], losses[0])
    assert result.change_real_se[0] == pytest.approx(differences.std(ddof=1) / 6**0.5, rel=1e-8)


def test_one_batch_of_a_loss_of_batches_has_no_errors(classification: Data) -> None:
    x, y = classification
    objective = Objective(tanh_net(), [(x[:12], y[:12].double())], contrast)
    result = landscape.run(Sensitivity(bits=(2,)), objective)
    assert objective.as_given
    assert np.isnan(result.change_real_se).all()
    assert "errors are not known" in " ".join(result.notes)
    assert "no" not in result.change_holds
