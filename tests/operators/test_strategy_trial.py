"""Which strategy is taken: the candidates as a table, the trial, and the fallback after errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import tanh_net
from oracles.dense import dense_hessian
from product_cases import Valued, objective_of
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.strategy import Hvp, ProductKey, ProductSettings, Strategy
from landscape.errors import UsageError
from landscape.operators import GaussNewtonOperator, HessianOperator, strategy_trial

Data = tuple[Tensor, Tensor]
HVPS: tuple[Hvp, ...] = ("auto", "loop", "vmap", "linearize")


class TestTheTrial:
    @pytest.mark.parametrize("choice", [0, 1])
    def test_the_fastest_way_is_taken_and_told(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch, choice: int
    ) -> None:
        trials = []
        monkeypatch.setattr(strategy_trial, "fastest", lambda works: trials.append(works) or list(works)[choice])
        objective = objective_of(tanh_net(), [classification])
        operator = HessianOperator(objective)
        for _ in range(2):
            operator @ block
        ways = [Strategy("vmap", 5), Strategy()]  # so small a net is batched unless the loop is clearly faster
        assert [list(works) for works in trials] == [ways]
        assert objective.strategies.chosen == {ProductKey("hessian", 5, 24): ways[choice]}
        assert list(objective.strategies.descriptions()) == [f"hessian, 5 columns: {ways[choice]}, graphs kept"]

    def test_one_column_needs_no_trial(self, classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(strategy_trial, "fastest", None)
        objective = objective_of(tanh_net(), [classification])
        HessianOperator(objective) @ objective.theta
        assert objective.strategies.chosen == {ProductKey("hessian", 1, 24): Strategy()}

    def test_larger_nets_begin_with_the_loop(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(strategy_trial, "VMAP_FIRST_BYTES", 0)
        monkeypatch.setattr(strategy_trial, "fastest", lambda works: next(iter(works)))
        objective = objective_of(tanh_net(), [classification])
        HessianOperator(objective) @ block
        assert objective.strategies.chosen == {ProductKey("hessian", 5, 24): Strategy()}

    def test_columns_at_once_fit_into_memory(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objective = objective_of(tanh_net(), [classification], "vmap")
        size = objective.activation_bytes * 24
        monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: round(2.5 * size * 8 * 1.25))
        dense = dense_hessian(tanh_net(), [classification])
        assert torch.allclose(HessianOperator(objective) @ block, dense @ block, rtol=0, atol=1e-14)
        assert objective.strategies.chosen == {ProductKey("hessian", 5, 24): Strategy("vmap", 2)}

    def test_an_operation_that_cannot_be_batched_leaves_the_loop(self, classification: Data, block: Tensor) -> None:
        for hvp in ("auto", "vmap"):
            objective = objective_of(nn.Sequential(tanh_net(), Valued()), [classification], hvp)
            operator = HessianOperator(objective)
            columns = torch.stack([operator @ column for column in block.unbind(dim=1)], dim=1)
            assert torch.allclose(operator @ block, columns, rtol=1e-13)
            assert objective.strategies.latest("hessian", 5) == Strategy()

    @pytest.mark.parametrize(
        "kind", [GaussNewtonOperator, lambda o: HessianOperator(o).block_diagonal(o.space.layers())]
    )
    def test_other_matrices_have_one_too(
        self, classification: Data, block: Tensor, kind: Callable[[Objective], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        for hvp in HVPS[:3]:
            objective = objective_of(tanh_net(), [classification], hvp)
            found += [kind(objective) @ block]
        assert torch.allclose(found[0], found[1], rtol=1e-12, atol=1e-14)
        assert torch.allclose(found[0], found[2], rtol=1e-12, atol=1e-14)
        (way,) = objective.strategies.chosen.values()
        assert way == Strategy("vmap", 5)

    def test_cuda_graphs_need_cuda(self, classification: Data) -> None:
        with pytest.raises(UsageError, match="not for cpu"):
            Objective(tanh_net(), [classification], device="cpu", settings=ProductSettings(cuda_graphs="on"))
