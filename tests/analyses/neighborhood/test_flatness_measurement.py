"""First-order flatness against a trust-region solver, the laws at a minimum, and the symmetries of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, tanh_net
from oracles.dense import dense_hessian
from oracles.trust_region import largest
from torch import Tensor, nn

import landscape
from landscape import Flatness, Objective
from landscape.analyses.neighborhood.flatness import FlatnessResult

Data = tuple[Tensor, Tensor]


def measured(objective: Objective, **options: Any) -> FlatnessResult:
    result: FlatnessResult = landscape.run(Flatness(**options), objective)
    return result


@pytest.mark.parametrize("adaptive", ["none", "element"])
@pytest.mark.parametrize("rho", [1e-3, 0.1, 2.0])
def test_r1_of_a_quadratic_is_the_largest_norm_of_g_plus_h_delta(
    adaptive: Any, rho: float, generator: torch.Generator
) -> None:
    x = torch.randn(40, 7, generator=generator, dtype=torch.float64) * torch.arange(1, 8)
    y = torch.randn(40, 1, generator=generator, dtype=torch.float64)
    torch.manual_seed(3)
    objective = Objective(nn.Linear(7, 1, bias=False).double(), [(x, y)], "mse", dtype="float64")
    scale = objective.theta.abs().numpy() if adaptive == "element" else np.ones(7)
    gradient = scale * objective.gradient().numpy()
    hessian = scale[:, None] * (2 * x.T @ x / 40).numpy() * scale
    # ||g + H d||^2 = ||g||^2 + 2 (H g)'d + d'(H H) d
    squared = gradient @ gradient + 2 * largest(hessian @ gradient, hessian @ hessian, rho)
    result = measured(objective, adaptive=adaptive, rho=(rho,), steps=80)
    assert result.r1[0] == pytest.approx(rho * squared**0.5, rel=1e-8)
    assert result.r0[0] == pytest.approx(largest(gradient, hessian, rho), rel=1e-8)
    assert result.lambda_1 == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-6)
    assert result.r1_over_rho2[0] == pytest.approx(result.gradient_over_rho[0] + result.excess[0], rel=1e-12)
    one_step = hessian @ gradient / np.linalg.norm(hessian @ gradient)
    estimate = rho * np.linalg.norm(gradient + rho * hessian @ one_step)
    assert result.gam_r1[0] == pytest.approx(estimate, rel=1e-10)
    assert result.gam_fraction[0] == pytest.approx(estimate / result.r1[0], rel=1e-7)


@pytest.fixture(scope="module")
def minimum() -> Objective:
    """A tanh net of 11 weights at a minimum of its regularized loss, polished by Newton steps in float64."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 3, generator=generator).double(), torch.randint(0, 2, (60,), generator=generator)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1, bias=False))

        def forward(self, z: Tensor) -> Tensor:
            out: Tensor = self.body(z)
            weights = torch.cat([p.reshape(-1) for p in self.parameters()])
            return torch.cat([out, weights.square().sum().expand(len(z), 1)], dim=1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        signs = 2.0 * target - 1
        return torch.nn.functional.softplus(-signs * output[:, 0]) + 0.005 * output[:, 1]

    torch.manual_seed(1)
    objective = Objective(Net().double(), [(x, y)], loss, dtype="float64")
    theta = objective.theta
    for _ in range(3000):
        theta = theta - 0.5 * objective.gradient(theta)
    from landscape.operators import HessianOperator

    for _ in range(10):
        dense = HessianOperator(objective, theta).to_dense()
        theta = theta - torch.linalg.solve(dense, objective.gradient(theta))
    vars(objective)["theta"] = theta
    assert float(objective.gradient().norm()) < 1e-12
    assert float(torch.linalg.eigvalsh(HessianOperator(objective).to_dense())[0]) > 0
    return objective


def test_at_a_minimum_r1_and_r0_give_the_largest_eigenvalue(minimum: Objective) -> None:
    result = measured(minimum, rho=(1e-4, 1e-3, 1e-2))
    assert np.allclose(result.r1_ratio, 1, atol=[2e-4, 2e-3, 3e-2])
    assert np.allclose(result.r0_ratio, 1, atol=[2e-4, 2e-3, 2e-2])
    assert np.abs(result.r1_ratio - 1)[2] > 1e-5  # and a larger ball is no longer quadratic
    assert (result.r0 <= result.r1).all()


@pytest.mark.parametrize("sample", ["digits-mlp", "digits-noisy"])
def test_r0_is_at_most_r1_and_gam_finds_a_part_of_it(sample: str) -> None:
    result = measured(landscape.load(SAMPLES / f"{sample}.pt", limit=200), rho=(0.02, 0.1), starts=5, steps=10)
    assert (result.r0 <= result.r1).all()
    assert ((result.gam_fraction > 0.15) & (result.gam_fraction < 1)).all()
    assert (np.diff(result.r1) > 0).all()


def test_adaptive_flatness_is_invariant_where_the_standard_one_is_not(generator: torch.Generator) -> None:
    x = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (20,), generator=generator)

    def net() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()

    before, after = net(), net()
    with torch.no_grad():
        after[0].weight *= 10  # type: ignore[operator]
        after[2].weight /= 10  # type: ignore[operator]
    one, other = (Objective(model, [(x, y)], "cross_entropy", dtype="float64") for model in (before, after))
    for name in ("r1", "r0", "lambda_1", "scaled_gradient", "gam_r1"):
        pair = [getattr(measured(o, adaptive="element", rho=(0.2,)), name) for o in (one, other)]
        assert np.allclose(*pair, rtol=1e-9), name
    assert measured(other).lambda_1 > 10 * measured(one).lambda_1


def test_lambda_1_is_that_of_a_dense_solver(classification: Data) -> None:
    exact = np.linalg.eigvalsh(dense_hessian(tanh_net(), [classification]).numpy())[-1]
    result = measured(Objective(tanh_net(), [classification], "cross_entropy", dtype="float64"))
    assert abs(result.lambda_1 - exact) <= result.lambda_1_residual
    assert result.r1_ratio[0] == pytest.approx(result.r1[0] / (0.05**2 * exact), rel=1e-3)


def test_the_plan_counts_products(classification: Data) -> None:
    plan = Flatness(rho=(0.1, 0.2)).plan(Objective(tanh_net(), [classification], "cross_entropy"))
    assert plan.products == 9 * 20 * 2 + 40
    assert plan.seconds > 0


def test_a_loss_that_is_constant_is_not_resolved() -> None:
    def nothing(output: Tensor, target: Tensor) -> Tensor:
        return 0 * output.sum(dim=1)

    objective = Objective(nn.Linear(5, 3), [(torch.ones(4, 5), torch.zeros(4, dtype=torch.long))], nothing)
    result = measured(objective)
    assert result.resolved.tolist() == [False]
