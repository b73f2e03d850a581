"""Mean rises under noise against the traces of quadratics and against plain draws."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn

import landscape
from landscape import Objective, Sharpness, seeds
from landscape.analyses.neighborhood.sharpness_result import SharpnessResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> SharpnessResult:
    result: SharpnessResult = landscape.run(Sharpness(**options), objective)
    return result


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_the_average_of_a_small_quadratic_is_half_its_trace(
    quadratic: tuple[Objective, np.ndarray, np.ndarray], noise: Any
) -> None:
    """The control variate holds all of a matrix of 7 rows: nothing is left to chance."""
    objective, _, hessian = quadratic
    result = measured(objective, rho=(0.01, 0.7), starts=0, draws=40, noise=noise)
    variance = 1.0 if noise == "gaussian" else 1 / 3
    exact = result.rho**2 / 2 * variance * (objective.theta.numpy() ** 2 * np.diag(hessian)).sum()
    assert result.s_avg_se is not None
    assert np.allclose(result.s_avg, exact, rtol=1e-8)
    assert np.allclose(result.s_avg_law, exact, rtol=1e-8)
    assert (result.s_avg_se < 1e-8 * exact).all()


def no_control(*arguments: Any) -> Generator[Any, None, tuple[None, str, int]]:
    """A search for a control variate that finds none."""
    yield from ()
    return None, "none is wanted", 0


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
def test_without_a_control_the_average_is_that_of_the_draws(
    quadratic: tuple[Objective, np.ndarray, np.ndarray], noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, _, hessian = quadratic
    monkeypatch.setattr("landscape.analyses.neighborhood.average_case._control_variate", no_control)
    result = measured(objective, rho=(0.01, 0.7), starts=0, draws=40, noise=noise)
    drawn = [seeds.normal(7, objective.theta, 0, "average", index).numpy() for index in range(40)]
    scale = objective.theta.abs().numpy()
    moves = scale * (
        np.stack(drawn) if noise == "gaussian" else torch.erf(torch.tensor(np.stack(drawn)) / 2**0.5).numpy()
    )
    curved = np.einsum("ki,ij,kj->k", moves, hessian, moves)
    assert result.s_avg is not None
    assert result.s_avg_se is not None
    assert np.allclose(result.s_avg, result.rho**2 * curved.mean() / 2, rtol=1e-8)
    assert np.allclose(result.s_avg_se, result.rho**2 * curved.std(ddof=1) / 2 / 40**0.5, rtol=1e-7)
    variance = 1.0 if noise == "gaussian" else 1 / 3
    exact = result.rho**2 / 2 * variance * (scale**2 * np.diag(hessian)).sum()
    assert (np.abs(result.s_avg - exact) < 4 * result.s_avg_se).all()
    assert result.s_avg_law is None


@pytest.mark.parametrize("draws", [8, 20])
def test_the_interval_of_the_average_covers(draws: int, generator: torch.Generator) -> None:
    """Least squares in 80 weights: the control variate holds a part of the curvature; below 16 draws it is not used."""
    x = torch.randn(200, 80, generator=generator, dtype=torch.float64) * torch.linspace(0.3, 3, 80)
    objective = Objective(nn.Linear(80, 1, bias=False).double(), [(x, torch.zeros(200, 1))], "mse", dtype="float64")
    exact = 0.1**2 / 2 * float((objective.theta**2 * 2 * x.square().mean(dim=0)).sum())
    covered = 0
    for seed in range(60):
        result = measured(objective, rho=(0.1,), starts=0, draws=draws, seed=seed)
        assert result.s_avg_interval is not None
        low, high = result.s_avg_interval[0]
        covered += low <= exact <= high
    assert 52 <= covered < 60  # of 60 at 95 %: fewer than 52 happens in 1 % of all cases


def test_draws_go_on_until_the_interval_is_as_asked(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    result = measured(objective, starts=0, draws=10, rtol=0.2)
    assert result.s_avg is not None
    assert result.s_avg_interval is not None
    assert result.draws > 10
    assert np.ptp(result.s_avg_interval, axis=1)[0] / 2 <= 0.2 * result.s_avg[0]
    assert not result.trouble()
    assert measured(objective, starts=0, draws=50, rtol=1e-4, max_draws=20).draws == 20
    cut = measured(objective, starts=0, draws=10, rtol=1e-4, max_draws=30)
    assert cut.draws == 30
    assert "0.0001 was asked for" in str(cut.trouble())
