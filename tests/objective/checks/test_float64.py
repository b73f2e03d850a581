"""Large models are checked in float64 as functions of their smallest tensors, and without float64 copies of weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from contract_breakers import BATCHES, Net, SavedDerivative
from live_bytes import peak_bytes
from torch import Tensor, nn

import landscape
from landscape.compute.strategy import ProductSettings
from landscape.data.batches import to_device
from landscape.objective.checks import check, float64
from landscape.objective.checks.derivatives import derivative_errors


def saves(net: Any, z: Tensor) -> Tensor:
    out: Tensor = SavedDerivative.apply(z)  # type: ignore[no-untyped-call]
    return out


def test_a_small_model_stays_as_it_is() -> None:
    objective = landscape.Objective(Net(), BATCHES, "cross_entropy")
    function, theta = float64.restrict(objective.function, objective.theta)
    assert function is objective.function
    assert theta is objective.theta


def test_a_large_model_becomes_a_function_of_its_smallest_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LARGE_MODEL", 16)
    monkeypatch.setattr(float64, "RESTRICTED", 8)
    objective = landscape.Objective(Net(), BATCHES, "cross_entropy", dtype="float64")
    function, theta = float64.restrict(objective.function, objective.theta)
    assert function.space.names == ("a.bias", "b.bias")
    assert theta.numel() == 7
    batch = next(iter(objective.batches))
    assert torch.equal(function.output(theta, batch), objective.function.output(objective.theta, batch))


def test_a_fault_of_a_large_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LARGE_MODEL", 16)
    monkeypatch.setattr(float64, "RESTRICTED", 8)
    objective = landscape.Objective(Net(saves), BATCHES, "cross_entropy")
    trouble = landscape.run(landscape.Eig(k=1), objective).trouble()
    assert trouble is not None
    assert "second derivative" in trouble.why
    plain = landscape.Objective(Net(), BATCHES, "cross_entropy")
    assert {finding.verdict for finding in landscape.run(landscape.Eig(k=1), plain).checks} == {"holds"}


class Wide(nn.Module):
    """Layers in a list between two more, with a buffer; a layer's middle is `width` wide."""

    def __init__(self, width: int = 512, layers: int = 6) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 64), nn.Linear(64, 3)
        middle = (nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 64)) for _ in range(layers))
        self.layers = nn.ModuleList(middle)
        self.register_buffer("shift", torch.randn(64))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x) + self.shift
        for layer in self.layers:
            h = h + layer(h)
        out: Tensor = self.last(h)
        return out


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("narrow", [True, False])
def test_outputs_and_gradients_are_those_in_float64(
    monkeypatch: pytest.MonkeyPatch, restricted: bool, narrow: bool
) -> None:
    torch.manual_seed(0)
    settings = ProductSettings(weights_dtype="bfloat16" if narrow else None)
    objective = landscape.Objective(Wide(8, 2), BATCHES, "cross_entropy", settings=settings)
    plain = objective.function.weights(objective.theta)
    assert isinstance(plain, Tensor)
    exact = replace(objective.function, stored={}, blocks=()).to(torch.float64)
    monkeypatch.setattr(check, "LARGE_MODEL", 16)
    monkeypatch.setattr(float64, "RESTRICTED", 300)
    function, theta = objective.function, objective.theta
    if restricted:
        function, theta = float64.restrict(function, theta)
    few = next(iter(objective.batches))
    wide, point = float64.in_float64(function, theta, objective.loss, few)
    batch = to_device(few, objective.device, torch.float64)
    assert point.dtype == torch.float64
    assert torch.allclose(wide.output(point, batch), exact.output(plain.double(), batch), rtol=1e-12, atol=1e-14)
    if restricted:
        at, whole = point.detach().requires_grad_(), plain.double().requires_grad_()
        (few,) = torch.autograd.grad(wide.output(at, batch).square().sum(), at)
        (every,) = torch.autograd.grad(exact.output(whole, batch).square().sum(), whole)
        expected, found = exact.space.unflatten(every), wide.space.unflatten(few)
        assert len(found) < len(expected)
        for name, part in found.items():
            assert torch.allclose(part, expected[name], rtol=1e-10, atol=1e-13), name


def test_weights_of_a_large_model_are_never_held_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = landscape.Objective(Wide(), BATCHES, "cross_entropy")
    weights = objective.theta.nbytes
    monkeypatch.setattr(check, "LARGE_MODEL", 16)
    monkeypatch.setattr(float64, "RESTRICTED", 2000)
    batch = next(next(iter(objective.batches)).split(2))

    def measure() -> None:
        """The derivatives of two samples."""
        derivative_errors(objective.function, objective.loss, objective.theta, batch, second=True)

    assert peak_bytes(measure) < 1.3 * weights  # a block is a sixth of them, in float64 a third
    monkeypatch.setattr(check, "LARGE_MODEL", 1 << 30)
    assert peak_bytes(measure) > 2 * weights


class Quantized(nn.Linear):
    """A layer that computes with rounded weights, whose rounding it hides from the derivative."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight + ((4 * self.weight).round() / 4 - self.weight).detach()
        return nn.functional.linear(x, weight, self.bias)


class Outside(Wide):
    """Layers of which a part is used outside of their forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x) + self.shift)
        for layer in self.layers:
            h = h + layer[2](torch.tanh(layer[0](h)))  # type: ignore[index]
        out: Tensor = self.last(h)
        return out


class Staged(Wide):
    """Layers that are also in stages, by which they are called."""

    def __init__(self) -> None:
        super().__init__(8, 4)
        self.stages = nn.ModuleList([nn.Sequential(*self.layers[:2]), nn.Sequential(*self.layers[2:])])

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x) + self.shift
        for stage in self.stages:
            h = h + stage(h)
        out: Tensor = self.last(h)
        return out


class Closure(nn.Module):
    """A layer that also reads what the model has put into it before."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.left = nn.Sequential(nn.Linear(8, 8), nn.Tanh()), torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x) * self.left
        return out


class Closures(nn.Module):
    """Layers that read a tensor which the model leaves in them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layers, self.last = nn.Linear(5, 8), nn.ModuleList([Closure(), Closure()]), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for layer in self.layers:
            layer.left = h.mean()  # type: ignore[assignment]
            h = h + layer(h)
        out: Tensor = self.last(h)
        return out


@pytest.fixture
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LARGE_MODEL", 16)
    monkeypatch.setattr(float64, "RESTRICTED", 100)


@pytest.mark.usefixtures("_large")
def test_a_fault_in_how_modules_use_their_weights_is_found_in_a_large_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Quantized(5, 6), nn.Tanh(), Quantized(6, 8), nn.Tanh(), Quantized(8, 3))
    result = landscape.run(landscape.Eig(k=1), landscape.Objective(model, BATCHES, "cross_entropy"))
    slope = next(finding for finding in result.checks if finding.check == "slope")
    assert slope.verdict == "broken"


@pytest.mark.usefixtures("_large")
@pytest.mark.parametrize("make", [lambda: Outside(8, 2), Staged, Closures, lambda: Wide(8, 2)])
def test_right_models_are_not_accused_for_blocks_that_do_not_run_by_themselves(make: Any) -> None:
    torch.manual_seed(0)
    result = landscape.run(landscape.Eig(k=1), landscape.Objective(make(), BATCHES, "cross_entropy"))
    of_numbers = {f.check: f.verdict for f in result.checks if f.check in ("slope", "curvature", "precision")}
    assert of_numbers == dict.fromkeys(("slope", "precision", "curvature"), "holds")
    slope = next(finding for finding in result.checks if finding.check == "slope")
    assert "parameters: the smallest tensors, and a module of each class" in slope.found
