"""Products as programs: linearized or compiled, refused where they would be wrong, left where they fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import tanh_net
from oracles.dense import dense_hessian
from product_cases import objective_of
from torch import Tensor, nn

from landscape import Objective, operators
from landscape.compute.strategy import ProductSettings, Strategy
from landscape.errors import TaskError, UsageError
from landscape.operators import HessianOperator, strategy_trial

Data = tuple[Tensor, Tensor]


class TestLinearized:
    def test_only_the_hessian_is_linearized(self, classification: Data, block: Tensor) -> None:
        objective = objective_of(tanh_net(), [classification], "linearize")
        with pytest.raises(UsageError, match="not of --operator ggn"):
            operators.operator("ggn", objective)
        hessian = operators.operator("hessian", objective)
        blocks = hessian.block_diagonal(objective.space.layers())  # part of a measurement of the Hessian
        dense = blocks.to_dense()
        assert torch.allclose(blocks @ block, dense @ block, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("activation", [nn.SiLU(inplace=True), nn.LeakyReLU(inplace=True)])
    def test_what_writes_in_place_is_linearized_without(
        self, classification: Data, block: Tensor, activation: nn.Module
    ) -> None:
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(5, 4), activation, nn.Linear(4, 3))
        operator = HessianOperator(objective_of(net, [classification], "linearize"))
        expected = HessianOperator(objective_of(net, [classification], "loop")) @ block
        for _ in range(3):
            assert torch.allclose(operator @ block, expected, rtol=1e-12, atol=1e-14)

    def test_what_would_crash_the_tracer_is_refused(self, generator: torch.Generator) -> None:
        x, y = torch.randn(6, 5, generator=generator), torch.randn(6, 3, generator=generator)
        objective = Objective(tanh_net(), [(x, y)], "mse", settings=ProductSettings("linearize"))
        with pytest.raises(TaskError, match="MseLoss.* has no forward rule"):
            HessianOperator(objective) @ objective.theta

    def test_a_replay_that_is_not_the_product_is_refused(
        self, classification: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def once(function: Any, theta: Tensor) -> Any:
            left = [1.0]
            value, push = original(function, theta)
            return value, lambda row: push(row) * (left.pop() if left else 1.01)

        original = torch.func.linearize
        monkeypatch.setattr(torch.func, "linearize", once)
        objective = objective_of(tanh_net(), [classification], "linearize")
        with pytest.raises(TaskError, match="not the Hessian's") as error:
            HessianOperator(objective) @ objective.theta
        assert error.value.fix == "--hvp auto"


class TestCompiled:
    def test_compiled_products_are_traced_for_each_shape(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, y = classification
        programs: list[Any] = []
        monkeypatch.setattr(torch, "compile", lambda program, **options: programs.append(program) or program)
        objective = objective_of(tanh_net(), [(x, y)], micro_batch=10)  # with a ragged last piece
        objective.settings = ProductSettings("loop", compile=True)
        monkeypatch.setattr(strategy_trial, "fastest", lambda works: list(works)[-1])
        dense = dense_hessian(tanh_net(), [classification])
        operator = HessianOperator(objective)
        for columns in (1, 5, 5):
            assert torch.allclose(operator @ block[:, :columns], dense @ block[:, :columns], rtol=0, atol=1e-13)
        assert objective.strategies.latest("hessian", 5) == Strategy("compiled", 5)
        assert len(programs) == 4
        assert torch.allclose(HessianOperator(objective, 2 * objective.theta) @ block, operator_at_twice(x, y) @ block)
        assert len(programs) == 4  # which are any operator's

    def test_a_program_that_fails_later_on_leaves_the_loop(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, y = classification

        def fussy(program: Any, **options: Any) -> Any:
            def run(theta: Tensor, rows: Tensor, *tensors: Tensor) -> Tensor:
                if len(tensors[0]) != 10:
                    raise RuntimeError("no such shape")
                result: Tensor = program(theta, rows, *tensors)
                return result

            return run

        monkeypatch.setattr(torch, "compile", fussy)
        monkeypatch.setattr(strategy_trial, "fastest", lambda works: list(works)[-1])
        objective = objective_of(tanh_net(), [(x, y)], micro_batch=10)
        objective.settings = ProductSettings("loop", compile=True)
        product = HessianOperator(objective) @ block
        assert torch.allclose(product, dense_hessian(tanh_net(), [classification]) @ block, rtol=0, atol=1e-13)
        assert objective.strategies.notes[-1] == "products are not compiled: no such shape"
        assert objective.strategies.latest("hessian", 5) == Strategy()

    def test_what_cannot_be_compiled_is_said_and_left(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(program: Any, **options: Any) -> Any:
            raise RuntimeError("no compiler here")

        monkeypatch.setattr(torch, "compile", fails)
        objective = objective_of(tanh_net(), [classification])
        objective.settings = ProductSettings(compile=True)
        product = HessianOperator(objective) @ block
        assert torch.allclose(product, dense_hessian(tanh_net(), [classification]) @ block, rtol=0, atol=1e-13)
        assert objective.strategies.notes[-1] == "products are not compiled: no compiler here"


def operator_at_twice(x: Tensor, y: Tensor) -> HessianOperator:
    objective = objective_of(tanh_net(), [(x, y)], "loop")
    return HessianOperator(objective, 2 * objective.theta)
