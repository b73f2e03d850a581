"""Sums over samples: all strategies agree, memory that ran out costs time alone, and results say what was done."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from architectures import Attention, Convolutional, Recurrent
from conftest import SAMPLES, Splitter, tanh_net
from oracles.dense import dense_hessian
from product_cases import Counted, objective_of
from torch import Tensor, nn

import landscape
from landscape import Density, Objective, session
from landscape.compute.strategy import Hvp, ProductKey, ProductSettings, Strategy, StrategyCache
from landscape.errors import OutOfMemory, TaskError
from landscape.operators import HessianOperator

Data = tuple[Tensor, Tensor]
HVPS: tuple[Hvp, ...] = ("auto", "loop", "vmap", "linearize")


class TestAllWaysAgree:
    @pytest.mark.parametrize("hvp", HVPS)
    def test_with_the_dense_matrix(self, classification: Data, split: Splitter, hvp: Hvp) -> None:
        objective = objective_of(tanh_net(), split(*classification), hvp)
        dense = dense_hessian(tanh_net(), [classification])
        for _ in range(2):  # the second time with kept graphs
            assert torch.allclose(HessianOperator(objective).to_dense(), dense, rtol=0, atol=1e-14)

    @pytest.mark.parametrize("hvp", HVPS[1:])
    @pytest.mark.parametrize(
        ("build", "features"), [(Attention, 4), (Recurrent, 4), (Convolutional, 5)], ids=["attention", "lstm", "conv"]
    )
    def test_in_single_precision(self, build: type[nn.Module], features: int, hvp: Hvp) -> None:
        torch.manual_seed(3)
        x, y = torch.randn(6, 5, features), torch.randint(0, 3, (6, 5))
        model = build()
        exact = HessianOperator(Objective(model, [(x, y)], "cross_entropy", dtype="float64"))
        block = torch.randn(exact.size, 4)
        expected = exact @ block.double()
        objective = Objective(model, [(x, y)], "cross_entropy", settings=ProductSettings(hvp))
        if hvp == "linearize" and build is Recurrent:  # torch has no forward rule
            with pytest.raises(TaskError, match="cannot be linearized"):
                HessianOperator(objective) @ block
            return
        product = HessianOperator(objective) @ block
        assert float((product - expected).norm() / expected.norm()) < 1e-6
        if hvp != "linearize":
            assert objective.strategies.latest("hessian", 4) == (Strategy("vmap", 4) if hvp == "vmap" else Strategy())


class TestOutOfMemory:
    """A device on which `most` columns of `samples` samples fit, and no kept graph beside them."""

    @pytest.fixture
    def small(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[tuple[int, int]]]:
        def limit(columns: int, samples: int) -> list[tuple[int, int]]:
            tried = []
            original = HessianOperator.graph

            def graph(self: HessianOperator, batch: Any) -> Any:
                inner = original(self, batch)

                def product(block: Tensor, *, chunk_size: int, retain_graph: bool) -> Tensor:
                    tried.append((batch.size, chunk_size))
                    if chunk_size > columns or batch.size > samples:
                        raise torch.OutOfMemoryError("forced")
                    return inner(block, chunk_size=chunk_size, retain_graph=retain_graph)

                return product

            monkeypatch.setattr(HessianOperator, "graph", graph)
            return tried

        return limit

    @pytest.mark.parametrize("hvp", ["auto", "vmap"])
    @pytest.mark.parametrize(
        ("columns", "samples", "way"), [(2, 24, (24, 2)), (1, 24, (24, 1)), (1, 7, (6, 1)), (1, 1, (1, 1))]
    )
    def test_columns_then_samples_are_halved_and_the_answer_is_the_same(
        self,
        classification: Data,
        block: Tensor,
        small: Any,
        hvp: Hvp,
        columns: int,
        samples: int,
        way: tuple[int, int],
    ) -> None:
        tried = small(columns, samples)
        objective = objective_of(tanh_net(), [classification], hvp)
        expected = dense_hessian(tanh_net(), [classification]) @ block
        operator = HessianOperator(objective)
        for _ in range(2):
            assert torch.allclose(operator @ block, expected, rtol=0, atol=1e-13)
        assert tried[-1][0] == way[0]
        assert tried[-1][1] == way[1] or hvp == "auto"  # whose trial may find the loop

    def test_one_sample_that_does_not_fit_is_said(self, classification: Data, block: Tensor, small: Any) -> None:
        small(1, 0)
        with pytest.raises(OutOfMemory, match="one sample alone"):
            HessianOperator(objective_of(tanh_net(), [classification], "loop")) @ block

    def test_kept_graphs_are_let_go_first(
        self, classification: Data, block: Tensor, counted: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objective = objective_of(counted, [classification], "loop", micro_batch=12)
        operator, expected = HessianOperator(objective), dense_hessian(tanh_net(), [classification]) @ block
        for _ in range(2):
            operator @ block
        original, failures = operator._graphs.graph_for, [2]

        def of(*arguments: Any) -> Any:
            if failures and len(operator._graphs._kept) == failures[0]:
                failures.clear()
                raise torch.OutOfMemoryError("forced")
            return original(*arguments)

        monkeypatch.setattr(operator._graphs, "graph_for", of)
        assert torch.allclose(operator @ block, expected, rtol=0, atol=1e-13)
        assert not operator._graphs._kept
        assert objective.micro_batch == 12
        assert "graphs rebuilt" in objective.strategies.graphs.values()


class TestTheResult:
    def test_it_says_how_products_were_made(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt", hvp="vmap", limit=100)
        measurement = session.execute(Density(probes=4, steps=3), objective)
        assert json.loads(measurement.attributes["hvp"]) == ["hessian, 4 columns: vmap of 4 columns, graphs kept"]

    def test_a_resumed_run_goes_the_same_way(self, classification: Data) -> None:
        first, second = (objective_of(tanh_net(), [classification]) for _ in range(2))
        first.strategies.chosen[ProductKey("hessian", 8, 7)] = Strategy("vmap", 4)
        second.resume_settings(first.strategies.to_json(), 7, "cpu")
        assert second.strategies.chosen == first.strategies.chosen
        assert second.micro_batch == 7
        asked = objective_of(tanh_net(), [classification], "loop", micro_batch=3)
        asked.resume_settings(first.strategies.to_json(), 7, "cpu")
        assert not asked.strategies.chosen
        assert asked.micro_batch == 3

    def test_a_run_from_elsewhere_goes_its_own_way(self, classification: Data) -> None:
        a, b, c = (ProductKey(name, 1, 24) for name in "abc")
        stored = StrategyCache({a: Strategy("compiled"), b: Strategy("recorded"), c: Strategy()}).to_json()
        objective = objective_of(tanh_net(), [classification])
        objective.resume_settings(stored, 7, "cuda:1")
        assert not objective.strategies.chosen
        assert objective.micro_batch == 24
        objective.resume_settings(stored, 7, "cpu")
        # recorded on a GPU: strategies of another device type do not come here
        assert objective.strategies.chosen == {b: Strategy("recorded"), c: Strategy()}
        settings = ProductSettings(cuda_graphs="off", compile=True)
        off = Objective(tanh_net(), [classification], settings=settings)
        off.resume_settings(stored, 7, "cpu")
        assert off.strategies.chosen == {a: Strategy("compiled"), c: Strategy()}
