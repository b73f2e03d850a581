"""The Hessian against closed forms and dense autograd."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from architectures import Attention, Convolutional, Recurrent
from conftest import Splitter, tanh_net
from operator_contract import OperatorContract
from oracles.dense import dense_hessian
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import TaskError
from landscape.operators import HessianOperator, LinearOperator

Data = tuple[Tensor, Tensor]


class TestHessian(OperatorContract):
    @pytest.fixture
    def objective(self, classification: Data, split: Splitter) -> Objective:
        return Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")

    @pytest.fixture
    def operator(self, objective: Objective) -> LinearOperator:
        return HessianOperator(objective)

    @pytest.fixture
    def dense(self, classification: Data) -> Tensor:
        return dense_hessian(tanh_net(), [classification])

    def test_the_spectrum_is_indefinite(self, dense: Tensor) -> None:
        values = torch.linalg.eigvalsh(dense)
        assert values[0] < -1e-3 * values[-1]

    @pytest.mark.parametrize("micro_batch", [1, 3, 7])
    def test_micro_batches_change_nothing(self, classification: Data, dense: Tensor, micro_batch: int) -> None:
        objective = Objective(tanh_net(), [classification], "cross_entropy", dtype="float64", micro_batch=micro_batch)
        assert torch.allclose(HessianOperator(objective).to_dense().cpu(), dense, rtol=0, atol=1e-14)


def test_linear_regression_has_twice_the_covariance_of_its_inputs(generator: torch.Generator, split: Splitter) -> None:
    x = torch.randn(24, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(24, 1, generator=generator, dtype=torch.float64)
    objective = Objective(nn.Linear(6, 1, bias=False), split(x, y), "mse", dtype="float64")
    assert torch.allclose(HessianOperator(objective).to_dense(), 2 * x.T @ x / 24, rtol=1e-13)


def test_logistic_regression_weights_each_sample_by_its_variance(generator: torch.Generator, split: Splitter) -> None:
    x = torch.randn(24, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 2, (24, 1), generator=generator).double()
    model = nn.Linear(6, 1, bias=False).double()
    chance = torch.sigmoid(x @ model.weight.detach().T)
    expected = x.T @ (chance * (1 - chance) * x) / 24
    objective = Objective(model, split(x, y), "bce", dtype="float64")
    assert torch.allclose(HessianOperator(objective).to_dense(), expected, rtol=1e-13)


def test_a_loss_linear_in_the_parameters_has_no_curvature(generator: torch.Generator) -> None:
    x, y = torch.randn(8, 3, generator=generator), torch.zeros(8, 1)
    objective = Objective(nn.Linear(3, 1), [(x, y)], lambda output, target: (output - target).mean())
    assert not HessianOperator(objective).to_dense().any()


class WeightNormalised(nn.Module):
    """Both of torch's spellings; the fused kernel's own double backward is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4))
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(5, 5, 1), dim=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.second = nn.utils.weight_norm(nn.Linear(4, 3), dim=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(self.conv(x))))


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_the_unfused_weight_norm_is_torch_s(name: str, dim: int | None) -> None:
    if name == "bias" and dim == 1:
        dim = -1
    torch.manual_seed(0)
    model = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3), name, dim=dim)
    x, y = torch.randn(6, 5), torch.randint(0, 3, (6,))
    expected = float(nn.functional.cross_entropy(model(x), y).detach())
    assert float(Objective(model, [(x, y)], "cross_entropy").value()) == pytest.approx(expected, rel=1e-6)


class TestArchitectures:
    """Each layer kind that trips other tools, against differences of the gradient."""

    @pytest.mark.parametrize(
        ("build", "features"),
        [(Attention, 4), (Recurrent, 4), (Convolutional, 5), (WeightNormalised, 5)],
        ids=["attention", "lstm", "batchnorm-and-tied", "weight-norm"],
    )
    def test_the_product_is_the_derivative_of_the_gradient(self, build: type[nn.Module], features: int) -> None:
        torch.manual_seed(3)
        x, y = torch.randn(6, 5, features), torch.randint(0, 3, (6, 5))
        objective = Objective(build(), [(x[:4], y[:4]), (x[4:], y[4:])], "cross_entropy", dtype="float64")
        vector = torch.randn(objective.space.size, dtype=torch.float64)
        step = 1e-5 * vector
        slope = (objective.gradient(objective.theta + step) - objective.gradient(objective.theta - step)) / 2e-5
        # central differences: truncation about step^2 = 1e-10, rounding about 1e-16 / 1e-5
        assert torch.allclose(HessianOperator(objective) @ vector, slope, rtol=1e-6, atol=1e-9)

    def test_attention_runs_through_its_mathematical_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(3)
        x, y = torch.randn(6, 5, 4), torch.randint(0, 3, (6, 5))
        objective = Objective(Attention(), [(x, y)], "cross_entropy")
        seen = []
        original = Attention.forward

        def watching(self: Attention, x: Tensor) -> Tensor:
            seen.append((torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()))
            return original(self, x)

        monkeypatch.setattr(Attention, "forward", watching)
        HessianOperator(objective) @ objective.theta
        assert seen == [(True, False)]
        assert torch.backends.cuda.flash_sdp_enabled()


def test_a_loss_without_a_second_derivative_names_the_operation() -> None:
    class Lost(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context: Any, gradient: Tensor) -> Tensor:
            return gradient * 2

    class Net(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return Lost.apply(super().forward(x))

    objective = Objective(Net(3, 2), [(torch.randn(4, 3), torch.zeros(4, dtype=torch.long))], "cross_entropy")
    with pytest.raises(TaskError, match="no second derivative"):
        HessianOperator(objective) @ objective.theta


def test_a_caller_under_no_grad_gets_the_same_product(classification: Data) -> None:
    objective = Objective(tanh_net(), [classification], "cross_entropy")
    expected = HessianOperator(objective) @ objective.theta
    with torch.no_grad():
        assert torch.equal(HessianOperator(objective) @ objective.theta, expected)
        assert Objective(tanh_net(), [classification]).reference == objective.reference


def test_unused_and_frozen_parameters_work() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2), "frozen": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    model.forward = lambda x: model["frozen"](torch.tanh(model["used"](x)))  # type: ignore[method-assign]
    x, y = torch.randn(6, 3), torch.randint(0, 2, (6,))
    objective = Objective(model, [(x, y)], "cross_entropy", dtype="float64")
    dense = HessianOperator(objective).to_dense()
    assert objective.space.names == ("used.weight", "used.bias", "unused.weight", "unused.bias")
    assert dense[:8, :8].any()
    assert not dense[8:].any()
