"""Products as differences of gradients, against dense Hessians in float64 and closed forms."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from architectures import Attention
from conftest import OnceNet, Splitter, tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, session
from landscape.compute.strategy import ProductKey, ProductSettings, Strategy
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.operators import HessianOperator, PreconditionedOperator, ScaledOperator, operator
from landscape.operators.difference_errors import ProductErrors

Data = tuple[Tensor, Tensor]
DIFFERENCE = ProductSettings("difference")
SAMPLES, VECTORS = 200, 40


def trained(activation: type[nn.Module], seed: int = 0) -> tuple[nn.Module, Data]:
    """A net that fits its data: kinks lie close to the weights, and the gradient is small."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 12), activation(), nn.Linear(12, 8), activation(), nn.Linear(8, 3))
    x = torch.randn(SAMPLES, 6)
    y = (x @ torch.randn(6, 3)).argmax(1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, (x, y)


def exact(model: nn.Module, data: Any, **options: Any) -> Tensor:
    return HessianOperator(Objective(model, data, "cross_entropy", dtype="float64", **options)).to_dense()


def differences(model: nn.Module, data: Any, dtype: str = "float64", **options: Any) -> HessianOperator:
    return HessianOperator(Objective(model, data, "cross_entropy", dtype=dtype, settings=DIFFERENCE, **options))


def vectors_of_all_kinds(dense: Tensor) -> list[Tensor]:
    """Random vectors, eigenvectors of large values, mixtures of these, and single coordinates, in random order."""
    values, eigenvectors = torch.linalg.eigh(dense)
    numbers = torch.randn(VECTORS, len(dense), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kinds = [
        lambda i: numbers[i],
        lambda i: eigenvectors[:, -1 - i // 4],
        lambda i: eigenvectors @ (values.abs() * numbers[i]),
        lambda i: 1e3 * torch.eye(len(dense), dtype=torch.float64)[7 * i % len(dense)],
    ]
    vectors = [kinds[i % 4](i) for i in range(VECTORS)]
    random.Random(0).shuffle(vectors)
    return vectors


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU], ids=["smooth", "kinks"])
def test_the_stated_error_covers_the_error(activation: type[nn.Module], dtype: str) -> None:
    model, data = trained(activation)
    dense = exact(model, data)
    product = differences(model, data, dtype)
    covered, largest = 0, float(torch.linalg.eigvalsh(dense).abs().max())
    for vector in vectors_of_all_kinds(dense):
        error = (product @ vector.to(product.like)).double() - dense @ vector
        relative = float(error.norm() / vector.norm())
        covered += relative <= float(product.differences.latest_errors[0])
        assert relative <= 3 * product.product_error
        assert relative <= {"float64": 1e-7, "float32": 1e-2 if activation is nn.Tanh else 1.0}[dtype] * largest
    assert covered >= 0.95 * VECTORS
    if dtype == "float64" or activation is nn.Tanh:  # kinks leave float32 no step that serves
        assert product.product_error <= {"float64": 1e-6, "float32": 2e-2}[dtype] * largest


class OneKink(nn.Module):
    """w0^2 x + c relu(w1 - 1 - 1e-8) + w1^2 / 2: a kink in the direction of w1, very near to the weights (1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.weight
        return x * (first**2 + 10 * torch.relu(second - 1 - 1e-8) + second**2 / 2)


def one_kink(step: float) -> HessianOperator:
    data = torch.ones(4, 1, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64)
    objective = Objective(OneKink(), data, lambda o, t: (o - t).sum(1), dtype="float64", settings=DIFFERENCE)
    objective.strategies.chosen[ProductKey("hessian", 1, 4)] = Strategy("difference", 1, step)
    return HessianOperator(objective)


def test_a_kink_within_the_step_makes_the_step_finer() -> None:
    product = one_kink(1e-6)
    smooth = product @ torch.tensor([1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(smooth, torch.tensor([2.0, 0.0], dtype=torch.float64), rtol=0, atol=1e-6)
    kinked = product @ torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(kinked, torch.tensor([0.0, 1.0], dtype=torch.float64), rtol=0, atol=1e-5)
    assert product.differences.step <= 1e-8
    assert product.objective.strategies.difference_step == product.differences.step
    assert product.product_error <= 1e-4


def test_the_trial_chooses_a_step_short_of_kinks_and_a_long_one_without() -> None:
    kinked, smooth = (differences(*trained(activation)).differences.step for activation in (nn.ReLU, nn.Tanh))
    assert kinked <= 1e-6
    assert smooth >= 1e-8
    coarse = differences(*trained(nn.Tanh), "float32").differences.step
    assert 1e-5 <= coarse <= 1e-2


def test_vectors_of_any_length_have_products_in_proportion(classification: Data) -> None:
    product = differences(tanh_net(), classification)
    vector = torch.sin(torch.arange(1.0, product.size + 1, dtype=torch.float64))
    image = product @ vector
    for length in (1e-150, 1e-8, 1e8, 1e150):
        torch.testing.assert_close(product @ (length * vector) / length, image, rtol=1e-7, atol=1e-10)
    assert not (product @ torch.zeros_like(vector)).any()
    assert not (product @ torch.zeros(product.size, 3, dtype=torch.float64)).any()


def test_blocks_batches_and_micro_batches_agree_with_the_dense_matrix(classification: Data, split: Splitter) -> None:
    dense = exact(tanh_net(), classification)
    for options in ({}, {"micro_batch": 2}):
        product = differences(tanh_net(), split(*classification), **options)
        torch.testing.assert_close(product.to_dense().cpu(), dense, rtol=0, atol=1e-6 * float(dense.abs().max()))
    groups = product.objective.space.layers()
    blocks = HessianOperator(Objective(tanh_net(), classification, "cross_entropy", dtype="float64"))
    expected = blocks.block_diagonal(groups).to_dense()
    part = product.block_diagonal(groups)
    torch.testing.assert_close(part.to_dense().cpu(), expected.cpu(), rtol=0, atol=1e-6)
    assert part.product_error == product.product_error > 0


def test_sums_over_groups_of_samples_are_those_of_exact_products(classification: Data) -> None:
    one = differences(tanh_net(), classification)
    other = HessianOperator(Objective(tanh_net(), classification, "cross_entropy", dtype="float64"))
    block = torch.randn(one.size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for mine, theirs in zip(one.quadratics(block, [2, 5]), other.quadratics(block, [2, 5]), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one.on_samples(1, 4) @ block, other.on_samples(1, 4) @ block, rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{"weight_decay": 0.3}, {"mode": "train"}], ids=["weight decay", "train mode"])
def test_both_sides_see_the_same_masks_and_the_same_decay(classification: Data, options: dict[str, Any]) -> None:
    model = nn.Sequential(*tanh_net(), nn.Dropout(0.4))
    dense = exact(model, classification, **options)
    torch.testing.assert_close(differences(model, classification, **options).to_dense(), dense, rtol=0, atol=1e-6)


def test_weights_of_zero_and_losses_without_curvature_have_their_products() -> None:
    model = nn.Linear(3, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    x = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = Objective(model, (x, torch.zeros(8, 1)), "mse", dtype="float64", settings=DIFFERENCE)
    ones = torch.cat([x, torch.ones(8, 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(HessianOperator(objective).to_dense(), 2 * ones.T @ ones / 8, rtol=1e-6, atol=1e-8)
    linear = objective.with_loss(landscape.losses.as_loss(lambda output, target: output[:, 0] - target[:, 0]))
    flat = HessianOperator(linear)
    assert float((flat @ torch.ones(4, dtype=torch.float64)).norm()) <= max(flat.product_error, 1e-9)


def test_errors_are_those_of_the_scaled_matrix(classification: Data) -> None:
    dense = exact(tanh_net(), classification)
    scale = torch.logspace(-1, 1, len(dense), dtype=torch.float64)
    inner = HessianOperator(
        Objective(tanh_net(), classification, "cross_entropy", dtype="float64", settings=DIFFERENCE)
    )
    scaled = ScaledOperator(inner, scale)
    for vector in vectors_of_all_kinds(dense)[:12]:
        error = scaled @ vector - scale * (dense @ (scale * vector))
        assert float(error.norm() / vector.norm()) <= scaled.product_error
    assert scaled.product_error <= 1e-6 * float(torch.linalg.eigvalsh(scale[:, None] * dense * scale).abs().max())


def test_preconditioned_products_are_differences_too(classification: Data) -> None:
    names = dict(tanh_net().named_parameters())
    positive = {name: torch.full(tensor.shape, 4.0) for name, tensor in names.items()}
    objective = Objective(
        tanh_net(), classification, "cross_entropy", dtype="float64", settings=DIFFERENCE, preconditioner=positive
    )
    product = operator("preconditioned", objective)
    assert isinstance(product, PreconditionedOperator)
    torch.testing.assert_close(product.to_dense(), exact(tanh_net(), classification) / 4, rtol=0, atol=1e-6)
    assert 0 < product.product_error < 1e-6


def test_attention_may_run_in_the_fused_kernels() -> None:
    x = torch.randn(5, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    data = x, torch.arange(30).view(5, 6) % 3
    allowed: list[bool] = []
    model = Attention()
    model.register_forward_pre_hook(lambda *_: allowed.append(torch.backends.cuda.flash_sdp_enabled()))
    one = HessianOperator(Objective(model, data, "cross_entropy", dtype="float64"))
    other = differences(model, data)
    allowed.clear()
    dense = one.to_dense()
    assert allowed
    assert not any(allowed)
    allowed.clear()
    torch.testing.assert_close(other.to_dense(), dense, rtol=0, atol=1e-6)
    assert all(allowed)


@pytest.mark.parametrize("seed", range(3))
def test_eigenvalues_lie_within_their_error_bounds(seed: int) -> None:
    model, data = trained(nn.Tanh, seed)
    values = torch.linalg.eigvalsh(exact(model, data)).flip(0)[:3].numpy()
    for dtype, sharpest in (("float64", 1e-5), ("float32", 1e-2)):
        objective = Objective(model, data, "cross_entropy", dtype=dtype, settings=DIFFERENCE)
        result = landscape.run(landscape.Eig(k=3, tol=1e-2), objective)
        assert result.trouble() is None
        assert (np.abs(result.eigenvalues - values) <= result.error_bounds).all()
        assert result.error_bounds[0] <= sharpest * values[0]
        assert result.rounding >= 0.9 * objective.strategies.product_error[0]


def test_errors_are_measured_less_and_less_often_and_where_a_product_bends() -> None:
    errors = ProductErrors()
    due = []
    for number in range(1, 33):
        if errors.are_due(1.0, 1.0):
            due.append(number)
            errors.add(1.0, 0.1)
    assert due == [1, 2, 4, 8, 16, 32]
    assert errors.are_due(3.1, 1.0)
    errors.add(3.1, 0.9)  # 0.7 beyond twice the least: in proportion to the bend
    assert errors.of(3.1) == pytest.approx(3 * (0.1 + 0.7))
    assert not errors.are_due(9.0, 1.0)
    assert errors.largest == pytest.approx(3 * (0.1 + 0.7 * 9 / 3.1))
    assert errors.are_due(float("nan"), 1.0)


class Plain(OnceNet):
    """The same net with torch's own tanh."""

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


def test_a_second_derivative_that_is_wrong_is_not_needed(classification: Data) -> None:
    right = torch.linalg.eigvalsh(dense_hessian(Plain(), [classification]))
    plain, by_differences = (
        Objective(OnceNet(), classification, "cross_entropy", dtype="float64", settings=ProductSettings(hvp))
        for hvp in ("auto", "difference")
    )
    with pytest.raises(NumericalError, match=r"not symmetric(?s:.*)--hvp difference"):
        landscape.run(landscape.Eig(k=1), plain)
    record = session.execute(landscape.Eig(k=1, tol=1e-5), by_differences)
    assert record.result.trouble() is None
    assert record.result.eigenvalues[0] == pytest.approx(float(right[-1]), rel=1e-6)
    found = {finding.check: finding for finding in record.result.checks}
    assert found["curvature"].verdict == found["slope"].verdict == "holds"
    assert record.attributes["product_error"] == by_differences.strategies.product_error[0]
    assert any("products are differences of gradients" in note for note in record.notes)


class Turned(torch.autograd.Function):
    """x whose gradient is turned around."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return -gradient


def test_a_gradient_that_is_not_that_of_the_loss_is_still_caught(classification: Data) -> None:
    class Wrong(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return Turned.apply(super().forward(x))  # type: ignore[no-untyped-call]

    objective = Objective(Wrong(5, 3), classification, "cross_entropy", dtype="float64", settings=DIFFERENCE)
    assert "the gradient is not the derivative of the loss" in str(
        landscape.run(landscape.Eig(k=1), objective).trouble()
    )


def test_a_loss_without_a_second_derivative_has_its_products() -> None:
    frames, letters = 12, 6
    generator = torch.Generator().manual_seed(0)
    sounds = torch.randn(5, frames, 4, dtype=torch.float64, generator=generator)
    texts = torch.randint(1, letters, (5, 3), generator=generator)

    def ctc(output: Tensor, target: Tensor) -> Tensor:
        lengths = torch.full((len(target),), frames), torch.full((len(target),), 3)
        return functional.ctc_loss(output.log_softmax(-1).transpose(0, 1), target, *lengths, reduction="none")

    torch.manual_seed(1)
    model = nn.Linear(4, letters)
    plain = Objective(model, (sounds, texts), ctc, dtype="float64")
    with pytest.raises(TaskError, match=r"no second derivative.*\n.*--hvp difference with --operator hessian"):
        landscape.run(landscape.Eig(k=1), plain)
    step = 1e-5 * torch.eye(plain.space.size, dtype=torch.float64)
    rows = [(plain.gradient(plain.theta + move) - plain.gradient(plain.theta - move)) / 2e-5 for move in step]
    expected = float(torch.linalg.eigvalsh(torch.stack(rows))[-1])
    result = landscape.run(
        landscape.Eig(k=1), Objective(model, (sounds, texts), ctc, dtype="float64", settings=DIFFERENCE)
    )
    assert result.trouble() is None
    assert result.eigenvalues[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["ggn", "fisher", "empirical-fisher", "pyhessian"])
def test_other_matrices_are_refused(classification: Data, name: Any) -> None:
    objective = Objective(tanh_net(), classification, "cross_entropy", settings=DIFFERENCE)
    with pytest.raises(UsageError, match=rf"--hvp difference.*not of --operator {name}(?s:.*)--hvp auto"):
        operator(name, objective)


def test_programs_are_refused_beside_differences(classification: Data) -> None:
    with pytest.raises(UsageError, match="--hvp difference excludes --compile"):
        Objective(tanh_net(), classification, "cross_entropy", settings=ProductSettings("difference", compile=True))


def complaint(analysis: landscape.Eig, objective: Objective) -> str:
    """What a run says of its result, or why it ended without one."""
    try:
        trouble = landscape.run(analysis, objective).trouble()
    except NumericalError as error:
        return f"{error.what} {error.fix}"
    return f"{trouble} {trouble.fix}" if trouble else ""


def test_kinks_that_no_step_avoids_end_the_search_with_a_remedy() -> None:
    model, data = trained(nn.ReLU)
    said = complaint(landscape.Eig(k=1), Objective(model, data, "cross_entropy", settings=DIFFERENCE))
    assert "differences of gradients are too rough" in said or "rounding of the products" in said
    assert "--dtype float64" in said


def test_results_by_differences_have_a_fingerprint_of_their_own(classification: Data) -> None:
    exactly, by_differences = (
        Objective(tanh_net(), classification, "cross_entropy", settings=ProductSettings(hvp)).identity()
        for hvp in ("loop", "difference")
    )
    assert by_differences == {**exactly, "products": "differences of gradients"}
