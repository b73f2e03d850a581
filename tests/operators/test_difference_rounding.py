"""Differences of gradients where rounding or kinks leave little of them, against autograd in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import landscape
from landscape import Objective
from landscape.compute.strategy import ProductKey, ProductSettings, Strategy
from landscape.errors import NumericalError
from landscape.losses import as_loss
from landscape.operators import HessianOperator
from landscape.operators.difference_errors import ProductErrors

DIFFERENCE = ProductSettings("difference")
SAMPLES = 400


def regression(samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 4, generator=generator), torch.randn(samples, 3, generator=generator)


def classes() -> tuple[Tensor, Tensor]:
    x, y = regression()
    return x, y.argmax(1)


class Gates(nn.Module):
    """sin(w) x + tanh(sum of w): curved on the scale of 1, whatever the size of its `count` weights."""

    def __init__(self, weight: float, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((count,), weight))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3] * self.weight[:3].sin() + (x[:, :1] * self.weight.sum()).tanh()


class Sine(nn.Module):
    """sin(w) x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3] * self.weight.sin()


def exact(model: nn.Module, data: Any, loss: Any, **options: Any) -> HessianOperator:
    return HessianOperator(Objective(model, data, loss, dtype="float64", **options))


@pytest.mark.parametrize("weight", [1e-3, 1e-5, 1e-6, 1e-8])
@pytest.mark.parametrize("count", [3, 8])
def test_tiny_weights_keep_their_eigenvalues(count: int, weight: float) -> None:
    """The moves are on the scale of what the weights stand beside: in proportion to them they would be rounded off."""
    expected = float(torch.linalg.eigvalsh(exact(Gates(weight, count), regression(), "mse").to_dense())[-1])
    objective = Objective(Gates(weight, count), regression(), "mse", settings=DIFFERENCE)
    result = landscape.run(landscape.Eig(k=1), objective)
    assert result.trouble() is None
    assert abs(result.eigenvalues[0] - expected) <= result.error_bounds[0] <= 1e-3 * expected


def test_a_part_of_the_parameters_that_is_tiny_has_its_eigenvalue_and_its_trace() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    for name, tensor in model.named_parameters():
        tensor.data *= 1e-5 if name.endswith("bias") else 1.0
    options: dict[str, Any] = {"params": ("*.bias",)}
    dense = exact(model, classes(), "cross_entropy", **options).to_dense()
    objective = Objective(model, classes(), "cross_entropy", settings=DIFFERENCE, **options)
    result = landscape.run(landscape.Eig(k=1), objective)
    assert abs(result.eigenvalues[0] - float(torch.linalg.eigvalsh(dense)[-1])) <= result.error_bounds[0] <= 1e-3
    trace = landscape.run(landscape.Trace(), objective)
    assert trace.trouble() is None
    assert abs(trace.trace - float(dense.trace())) <= trace.product_error + 1e-6 <= 1e-3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weight", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("loss", ["mse", lambda o, t: 1e-6 * ((o - t) ** 2).mean(1)], ids=["mse", "tiny mse"])
def test_a_single_weight_has_an_error_too(loss: Any, weight: float, dtype: Any) -> None:
    expected = float(exact(Sine(weight), regression(), loss).to_dense())
    product = HessianOperator(Objective(Sine(weight), regression(), loss, dtype=dtype, settings=DIFFERENCE))
    error = abs(float(product @ torch.ones_like(product.like)) - expected)
    assert error <= product.product_error
    assert 0 < product.product_error <= {"float64": 1e-5, "float32": 1e-2}[dtype] * abs(expected)


@pytest.mark.parametrize("samples", [40, SAMPLES])
def test_gradients_that_change_within_the_last_digits_of_the_weights_are_refused(samples: int) -> None:
    """sin(w) at a million in float32, whose neighbors lie 0.06 apart: no step has a product that lasts."""
    objective = Objective(Sine(1e6), regression(samples), "mse", settings=DIFFERENCE)
    with pytest.raises(NumericalError, match=r"too rough: they change with every step(?s:.*)--dtype float64"):
        landscape.run(landscape.Eig(k=1), objective)
    precise = Objective(Sine(1e6), regression(), "mse", dtype="float64", settings=DIFFERENCE)
    result = landscape.run(landscape.Eig(k=1), precise)
    expected = float(exact(Sine(1e6), regression(), "mse").to_dense())
    assert abs(result.eigenvalues[0] - expected) <= result.error_bounds[0] <= 1e-3 * expected


class BesideTenThousand(nn.Module):
    """w^2 / 2 + relu(w - 5e-4), with w added to a number beside which moves of less than 1e-3 vanish."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * ((self.weight + 1e4) ** 2 / 2 - 1e4 * self.weight + torch.relu(self.weight - 5e-4))


def test_a_finer_step_that_is_lost_in_rounding_is_not_taken() -> None:
    """Behind the kink both gradients are equal to the last digit: their difference is 0, the curvature 1."""
    loss = as_loss(lambda output, target: (output - target).sum(1))
    objective = Objective(BesideTenThousand(), (torch.ones(4, 1), torch.zeros(4, 1)), loss, settings=DIFFERENCE)
    objective.strategies.chosen[ProductKey("hessian", 1, 4)] = Strategy("difference", 1, 1e-3)
    product = HessianOperator(objective)
    assert abs(float(product @ torch.ones(1)) - 1) <= product.product_error


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_product_of_zero_errs_by_the_rounding_of_gradients(dtype: Any) -> None:
    """A loss that is linear in tiny weights: all gradients are equal, and what hides below their last digit is not."""
    model = nn.Linear(4, 3)
    for tensor in model.parameters():
        tensor.data *= 1e-6
    linear = as_loss(lambda output, target: (output * (1 + target**2)).sum(1))
    product = HessianOperator(Objective(model, regression(), linear, dtype=dtype, settings=DIFFERENCE))
    image = product @ torch.ones_like(product.like)
    gradient = float(product.objective.gradient().norm())
    assert float(image.norm()) / product.size**0.5 <= product.product_error
    assert 0 < product.product_error <= 1e4 * torch.finfo(image.dtype).eps * gradient


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU], ids=["relu", "leaky relu"])
def test_a_kink_at_the_weights_themselves_counts(activation: type[nn.Module], dtype: Any) -> None:
    """All weights 0: each line through them sees two slopes, at every step the same ones."""
    model = nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 3))
    for tensor in model.parameters():
        tensor.data.zero_()
    dense = exact(model, classes(), "cross_entropy").to_dense()
    product = HessianOperator(Objective(model, classes(), "cross_entropy", dtype=dtype, settings=DIFFERENCE))
    generator, largest = torch.Generator().manual_seed(1), 0.0
    for _ in range(20):
        vector = torch.randn(len(dense), dtype=torch.float64, generator=generator)
        error = float(((product @ vector.to(product.like)).double() - dense @ vector).norm() / vector.norm())
        assert error <= float(product.differences.latest_errors[0])
        largest = max(largest, error)
    assert 0.01 < largest <= product.product_error <= 1
    trace = landscape.run(landscape.Trace(), product.objective)
    assert abs(trace.trace - float(dense.trace())) <= trace.product_error
    assert "products by differences make the trace uncertain" in str(trace.trouble())
    assert landscape.run(landscape.Eig(k=1), product.objective).trouble() is not None


def test_kinks_count_in_proportion_to_the_bend_and_rounding_does_not() -> None:
    errors = ProductErrors()
    errors.add(1.0, 0.1, 0.15)  # no more than rounding of the bend itself
    assert errors.of(2.0) == pytest.approx(3 * 0.15)
    errors.add(1.0, 0.1, 0.5)
    assert errors.of(2.0) >= 3 * 0.5 * 2.0
    assert errors.of(0.0) == pytest.approx(3 * np.median([0.15, 0.5, 0.5]))


def test_steps_reach_from_what_is_usual_to_what_a_tiny_theta_needs() -> None:
    def steps(weight: float, dtype: Any) -> tuple[float, ...]:
        model = Gates(weight, 8)
        return HessianOperator(
            Objective(model, regression(), "mse", dtype=dtype, settings=DIFFERENCE)
        ).differences.steps

    for dtype, coarsest, finest in (("float32", 3e-2, 3e-7), ("float64", 1e-3, 1e-12)):
        ordinary, tiny = steps(1.0, dtype), steps(1e-4, dtype)
        assert tiny[: len(ordinary)] == ordinary
        assert ordinary[0] == coarsest
        assert ordinary[-1] == finest
        assert tiny[-1] == pytest.approx(finest * 1e-4 * 8**0.5, rel=2)
        assert steps(0.0, dtype) == ordinary
