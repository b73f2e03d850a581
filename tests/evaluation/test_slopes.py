"""Slopes and curvatures along a direction, against the gradient and the dense Hessian in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape.evaluation.slopes import curvature_along, slope_along
from landscape.objective import Objective
from landscape.operators import HessianOperator


def objective(activation: type[nn.Module] = nn.Tanh, dtype: str = "float64") -> Objective:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), activation(), nn.Linear(7, 3))
    x, y = torch.randn(40, 5), torch.randint(0, 3, (40,))
    return Objective(model, [(x[:33], y[:33]), (x[33:], y[33:])], "cross_entropy", dtype=dtype, micro_batch=8)


def direction(size: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(3), dtype=dtype)


def test_the_slope_is_the_gradient_along_the_direction_over_all_batches() -> None:
    subject = objective()
    along, point = direction(subject.space.size), subject.theta + 0.1
    expected = float(subject.gradient(point) @ along)
    assert slope_along(subject, point, along) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_curvature_is_that_of_the_hessian_within_its_error(dtype: str) -> None:
    subject, exact = objective(dtype=dtype), objective()
    along = direction(subject.space.size)
    expected = float(along @ HessianOperator(exact).to_dense() @ along)
    scaled = along.to(subject.theta) * 3
    found = curvature_along(subject, scaled, torch.empty_like(subject.theta))
    assert found.value == pytest.approx(9 * expected, abs=found.error + 1e-8)
    assert found.error < 1e-2 * abs(found.value)


def test_a_direction_of_zeros_has_no_curvature_and_theta_stays_as_it_is() -> None:
    subject = objective()
    before, point = subject.theta.clone(), torch.empty_like(subject.theta)
    assert curvature_along(subject, torch.zeros_like(before), point) == (0.0, 0.0)
    curvature_along(subject, torch.ones_like(before), point)
    assert torch.equal(subject.theta, before)
