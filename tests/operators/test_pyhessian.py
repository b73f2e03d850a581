"""PyHessian behind our interface: the same matrix, by its own code."""

from __future__ import annotations

import pytest
import torch
from conftest import Splitter, tanh_net
from operator_contract import OperatorContract
from oracles.dense import dense_hessian
from torch import Tensor, nn

from landscape import LandscapeError, Objective
from landscape.operators import HessianOperator, LinearOperator, PyHessianOperator

Data = tuple[Tensor, Tensor]


class TestPyHessian(OperatorContract):
    @pytest.fixture
    def objective(self, classification: Data, split: Splitter) -> Objective:
        return Objective(tanh_net(), split(*classification), "cross_entropy", dtype="float64")

    @pytest.fixture
    def operator(self, objective: Objective) -> LinearOperator:
        if objective.device.type not in ("cpu", "cuda"):
            pytest.skip("PyHessian knows the CPU and CUDA")
        return PyHessianOperator(objective)

    @pytest.fixture
    def dense(self, classification: Data) -> Tensor:
        return dense_hessian(tanh_net(), [classification])


def test_ignored_targets_and_selected_parameters_are_the_same_to_both(classification: Data) -> None:
    x, y = classification
    y[::5] = -100
    batches = [(x[:10], y[:10]), (x[10:], y[10:])]
    objective = Objective(tanh_net(), batches, "cross_entropy", dtype="float64", params=("2.*",))
    assert torch.allclose(PyHessianOperator(objective).to_dense(), HessianOperator(objective).to_dense(), atol=1e-14)


def test_it_works_on_a_copy_of_the_model(classification: Data) -> None:
    model = tanh_net().train()
    PyHessianOperator(Objective(model, [classification], "cross_entropy", dtype="float64", params=("0.*",)))
    assert model.training
    assert all(p.dtype == torch.float32 and p.requires_grad and p.grad is None for p in model.parameters())


def test_power_iteration_leaves_the_global_generator_alone_and_repeats_itself(classification: Data) -> None:
    operator = PyHessianOperator(Objective(tanh_net(), [classification], "cross_entropy"))
    before = torch.get_rng_state()
    first, second = operator.power_iteration(2, seed=0), operator.power_iteration(2, seed=0)
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unused_parameter_is_named() -> None:
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(3, 2)})
    model.forward = lambda x: model["used"](x)  # type: ignore[method-assign]
    objective = Objective(model, [(torch.randn(4, 3), torch.zeros(4, dtype=torch.long))], "cross_entropy")
    with pytest.raises(LandscapeError, match=r"idle\.weight, idle\.bias"):
        PyHessianOperator(objective)


def test_several_inputs_are_refused_with_the_remedy() -> None:
    class Sum(nn.Linear):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(a + b)

    pair = (torch.randn(4, 3), torch.randn(4, 3))
    objective = Objective(Sum(3, 2), [(pair, torch.zeros(4, dtype=torch.long))], "cross_entropy")
    with pytest.raises(LandscapeError, match="--operator hessian"):
        PyHessianOperator(objective)
