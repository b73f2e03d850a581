"""Weights that are kept in fewer bits: products are those of the plain model at the rounded weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from repeating_models import LABELS, REALS, Stack
from torch import Tensor, nn

from landscape import Objective
from landscape.analyses.eig import Eig
from landscape.analyses.neighborhood.sharpness import Sharpness
from landscape.compute.strategy import ProductSettings
from landscape.errors import UsageError
from landscape.network.stored_weights import cast_weight, release, round_weights_, weights_of_blocks
from landscape.operators import GaussNewtonOperator, HessianOperator, PyHessianOperator
from landscape.session.driver import run
from landscape.zoo import mlp

DATA = [(REALS, LABELS)]


def rounded(kind: torch.dtype, model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(kind).to(parameter.dtype))
    return model


def measure(model: nn.Module, data: Any = DATA, **settings: Any) -> Objective:
    return Objective(model, data, "cross_entropy", settings=ProductSettings(**settings))


@pytest.mark.parametrize("recompute", ["auto", "off"])
@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_values_gradients_and_products_are_those_at_the_rounded_weights(kind: Any, recompute: Any) -> None:
    plain = measure(rounded(getattr(torch, kind), Stack()))
    mine = measure(Stack(), weights_dtype=kind, recompute=recompute)
    assert mine.function.recomputes == (recompute == "auto")
    assert mine.theta.untyped_storage().nbytes() == 4
    assert {tensor.dtype for tensor in mine.function.stored.values()} == {getattr(torch, kind)}
    torch.testing.assert_close(mine.value(), plain.value(), rtol=0, atol=0)
    torch.testing.assert_close(mine.gradient(), plain.gradient(), rtol=1e-6, atol=1e-8)
    block = torch.randn(plain.space.size, 3, generator=torch.Generator().manual_seed(2))
    for operator in (HessianOperator, GaussNewtonOperator):
        for _ in range(2):
            torch.testing.assert_close(operator(mine) @ block, operator(plain) @ block, rtol=1e-5, atol=1e-7)


def test_what_is_rounded_is_said_and_is_part_of_the_fingerprint() -> None:
    plain, mine = measure(Stack()), measure(Stack(), weights_dtype="bfloat16")
    assert any("15 of 15 tensors of weights are rounded to bfloat16" in note for note in mine.notes)
    assert mine.identity() != plain.identity()
    lossless = measure(rounded(torch.bfloat16, Stack()), weights_dtype="bfloat16")
    assert lossless.identity() == mine.identity()
    assert lossless.identity() == measure(rounded(torch.bfloat16, Stack())).identity()
    assert not any("rounded" in note for note in lossless.notes)


def test_eigenvalues_are_those_at_the_rounded_weights() -> None:
    plain = run(Eig(k=2), measure(rounded(torch.bfloat16, Stack())))
    mine = run(Eig(k=2), measure(Stack(), weights_dtype="bfloat16"))
    torch.testing.assert_close(mine.eigenvalues, plain.eigenvalues, rtol=1e-5, atol=0)
    assert mine.trouble() is None
    assert [finding.verdict for finding in mine.checks] == [finding.verdict for finding in plain.checks]


def test_a_model_without_blocks_is_measured_too() -> None:
    torch.manual_seed(0)
    net = mlp((5, 4, 3))
    mine = measure(net, weights_dtype="bfloat16")
    plain = measure(rounded(torch.bfloat16, net))
    torch.testing.assert_close(mine.gradient(), plain.gradient(), rtol=0, atol=0)


def test_weight_decay_is_that_of_the_weights() -> None:
    model = rounded(torch.bfloat16, Stack())
    plain = Objective(model, DATA, "cross_entropy", weight_decay=0.3)
    settings = ProductSettings(weights_dtype="bfloat16")
    mine = Objective(model, DATA, "cross_entropy", weight_decay=0.3, settings=settings)
    torch.testing.assert_close(mine.value(), plain.value())
    torch.testing.assert_close(mine.gradient(), plain.gradient(), rtol=1e-6, atol=1e-7)


def test_differences_of_gradients_take_steps_of_the_weights_size() -> None:
    model = rounded(torch.bfloat16, Stack())
    vector = torch.ones(measure(model).space.size)
    exact = HessianOperator(measure(model)) @ vector
    mine = HessianOperator(measure(model, weights_dtype="bfloat16", hvp="difference"))
    assert mine.differences is not None
    assert mine.differences.scale == pytest.approx(float(measure(model).theta.norm()))
    assert float((mine @ vector - exact).norm() / exact.norm()) < 1e-2


def test_half_of_the_bytes_of_the_weights_are_held() -> None:
    plain, mine = measure(Stack()), measure(Stack(), weights_dtype="bfloat16")
    held = sum(tensor.untyped_storage().nbytes() for tensor in (mine.theta, *mine.function.stored.values()))
    assert held <= plain.theta.nbytes // 2 + 4


def test_what_moves_weights_is_refused() -> None:
    mine = measure(Stack(), weights_dtype="bfloat16")
    with pytest.raises(UsageError, match=r"sharpness needs weights.*\n.*leave --weights-dtype out"):
        run(Sharpness(rho=0.1), mine)
    with pytest.raises(UsageError, match="--operator pyhessian needs weights"):
        PyHessianOperator(mine)


def test_numbers_too_large_are_refused() -> None:
    with pytest.raises(UsageError, match=r"float16 cannot hold a.*\n.*bfloat16"):
        round_weights_({"a": torch.tensor([1e6]), "b": torch.tensor([1.0])}, "float16")
    tensors = {"a": torch.tensor([1.0, 1 + 2**-12]), "b": torch.tensor([1.5])}
    assert round_weights_(tensors, "bfloat16") == "1 of 2 tensors of weights are rounded to bfloat16"
    assert round_weights_(tensors, "bfloat16") == ""
    assert tensors["a"].tolist() == [1.0, 1.0]


def test_a_model_that_shares_theta_s_memory_lets_it_go() -> None:
    theta, own = torch.ones(6), nn.Parameter(torch.ones(2))
    shared = nn.Parameter(theta[2:].view(2, 2))
    release([own, shared], theta)
    assert shared.untyped_storage().nbytes() == 4
    assert own.tolist() == [1, 1]
    mine = Objective(
        Stack(), DATA, "cross_entropy", settings=ProductSettings(weights_dtype="bfloat16"), share_memory=True
    )
    torch.testing.assert_close(mine.gradient(), measure(rounded(torch.bfloat16, Stack())).gradient())
    run(Eig(k=1), mine)


def test_weights_that_are_used_outside_of_blocks_are_not_left_to_these() -> None:
    net = Stack()
    stored = {name: parameter.to(torch.bfloat16) for name, parameter in net.named_parameters()}
    names, parts = weights_of_blocks(net, list(net.blocks), stored)
    assert "blocks.0.inner.weight" not in names  # the head has it too
    assert "blocks.1.inner.weight" in names
    assert "stem.weight" not in names
    assert set(parts[id(net.blocks[1])]) == {"inner.weight", "inner.bias", "outer.weight", "outer.bias"}


def test_the_gradient_of_a_stored_weight_is_that_of_the_difference() -> None:
    difference = torch.zeros(()).expand(3).clone().requires_grad_()
    weight: Tensor = cast_weight(difference, torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16))
    (gradient,) = torch.autograd.grad((weight**3).sum(), difference)
    torch.testing.assert_close(gradient, torch.tensor([3.0, 12.0, 27.0]))
    assert cast_weight(difference, None) is difference


class PartsOutside(Stack):
    """Blocks of which a part runs outside of their forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block.outer(torch.tanh(block.inner(h)))  # type: ignore[operator, union-attr]
        out: Tensor = self.head(h)
        return out


class WeightOutside(Stack):
    """A weight of a block that the model also uses by itself."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x) + self.blocks[1].outer.weight.square().sum()  # type: ignore[union-attr, operator]
        return out


class InStages(nn.Module):
    """Blocks that are called in stages, and held in a list too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, 4), nn.Linear(4, 6)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(4)])
        self.stages = nn.ModuleList([nn.Sequential(*self.blocks[:2]), nn.Sequential(*self.blocks[2:])])

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for stage in self.stages:
            h = stage(h)
        out: Tensor = self.head(h)
        return out


def penalized(model: nn.Module, batch: Any) -> Tensor:
    inputs, labels = batch
    losses = nn.functional.cross_entropy(model(inputs), labels, reduction="none")
    return losses + sum(parameter.square().sum() for parameter in model.parameters())


@pytest.mark.parametrize("make", [PartsOutside, WeightOutside, InStages])
@pytest.mark.parametrize("recompute", ["auto", "on", "off"])
def test_weights_of_blocks_count_wherever_the_model_uses_them(make: type[nn.Module], recompute: Any) -> None:
    torch.manual_seed(0)
    model = make()
    mine = measure(model, weights_dtype="bfloat16", recompute=recompute)
    value, gradient = mine.value(), mine.gradient()
    torch.manual_seed(0)
    plain = measure(rounded(torch.bfloat16, make()))
    torch.testing.assert_close(value, plain.value())
    torch.testing.assert_close(gradient, plain.gradient(), rtol=1e-4, atol=1e-6)


def test_an_objective_s_penalty_sees_the_weights_of_blocks() -> None:
    settings = ProductSettings(weights_dtype="bfloat16")
    torch.manual_seed(0)
    mine = Objective(Stack(), DATA, objective=penalized, settings=settings)
    torch.manual_seed(0)
    plain = Objective(rounded(torch.bfloat16, Stack()), DATA, objective=penalized)
    torch.testing.assert_close(mine.value(), plain.value())
    torch.testing.assert_close(mine.gradient(), plain.gradient(), rtol=1e-4, atol=1e-5)
