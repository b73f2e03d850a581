"""How products are made: all ways agree, the fastest is taken, graphs are kept, and memory that ran out costs time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from architectures import Attention, Convolutional, Recurrent
from conftest import SAMPLES, Splitter, tanh_net
from oracles.dense import dense_hessian
from torch import Tensor, nn

import landscape
from landscape import Density, Objective, session
from landscape.engine import Engine, Hvp, Way
from landscape.errors import TaskError, UsageError
from landscape.operators import GaussNewtonOperator, HessianOperator, summed
from landscape.operators.blocks import block_diagonal
from landscape.operators.graphs import weighed

Data = tuple[Tensor, Tensor]
HVPS: tuple[Hvp, ...] = ("auto", "loop", "vmap", "linearize")


class Counted(nn.Sequential):
    """A net that counts its forward passes."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.passes += 1
        return super().forward(x)


@pytest.fixture
def counted() -> Counted:
    Counted.passes = 0
    return Counted(*tanh_net())


@pytest.fixture
def block() -> Tensor:
    return torch.randn(39, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def objective_of(model: nn.Module, data: Any, hvp: Hvp = "auto", **options: Any) -> Objective:
    return Objective(model, data, "cross_entropy", **{"dtype": "float64"} | options, engine=Engine(hvp))


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
        objective = Objective(model, [(x, y)], "cross_entropy", engine=Engine(hvp))
        if hvp == "linearize" and build is Recurrent:  # torch has no forward rule
            with pytest.raises(TaskError, match="cannot be linearized"):
                HessianOperator(objective) @ block
            return
        product = HessianOperator(objective) @ block
        assert float((product - expected).norm() / expected.norm()) < 1e-6
        if hvp != "linearize":
            assert objective.engine.ways["hessian, 4 columns"] == (Way("vmap", 4) if hvp == "vmap" else Way())

    def test_compiled_products_are_traced_for_one_shape(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, y = classification
        programs: list[Any] = []
        monkeypatch.setattr(torch, "compile", lambda program, **options: programs.append(program) or program)
        objective = objective_of(tanh_net(), [(x, y)], micro_batch=10)  # a ragged last piece goes the plain way
        objective.engine = Engine("loop", compile=True)
        monkeypatch.setattr(summed, "fastest", lambda works: list(works)[-1])
        dense = dense_hessian(tanh_net(), [classification])
        operator = HessianOperator(objective)
        for columns in (1, 5, 5):
            assert torch.allclose(operator @ block[:, :columns], dense @ block[:, :columns], rtol=0, atol=1e-13)
        assert objective.engine.ways["hessian, 5 columns"] == Way("compiled", 5)
        assert len(programs) == 2

    def test_what_cannot_be_compiled_is_said_and_left(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(program: Any, **options: Any) -> Any:
            raise RuntimeError("no compiler here")

        monkeypatch.setattr(torch, "compile", fails)
        objective = objective_of(tanh_net(), [classification])
        objective.engine = Engine(compile=True)
        product = HessianOperator(objective) @ block
        assert torch.allclose(product, dense_hessian(tanh_net(), [classification]) @ block, rtol=0, atol=1e-13)
        assert objective.notes[-1] == "products are not compiled: no compiler here"


class TestTheTrial:
    @pytest.mark.parametrize("choice", [0, 1])
    def test_the_fastest_way_is_taken_and_told(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch, choice: int
    ) -> None:
        trials = []
        monkeypatch.setattr(summed, "fastest", lambda works: trials.append(works) or list(works)[choice])
        objective = objective_of(tanh_net(), [classification])
        operator = HessianOperator(objective)
        for _ in range(2):
            operator @ block
        ways = [Way("vmap", 5), Way()]  # so small a net is batched unless the loop is clearly faster
        assert [list(works) for works in trials] == [ways]
        assert objective.engine.ways == {"hessian, 5 columns": ways[choice]}
        assert list(objective.engine.described()) == [f"hessian, 5 columns: {ways[choice]}, graphs kept"]

    def test_one_column_needs_no_trial(self, classification: Data, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(summed, "fastest", None)
        objective = objective_of(tanh_net(), [classification])
        HessianOperator(objective) @ objective.theta
        assert objective.engine.ways == {"hessian, 1 column": Way()}

    def test_larger_nets_begin_with_the_loop(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(summed, "BATCHED_BYTES", 0)
        monkeypatch.setattr(summed, "fastest", lambda works: next(iter(works)))
        objective = objective_of(tanh_net(), [classification])
        HessianOperator(objective) @ block
        assert objective.engine.ways == {"hessian, 5 columns": Way()}

    def test_columns_at_once_fit_into_memory(
        self, classification: Data, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objective = objective_of(tanh_net(), [classification], "vmap")
        size = objective.activation_bytes * 24
        monkeypatch.setattr("landscape.memory.available", lambda device: round(2.5 * size * 8 * 1.25))
        dense = dense_hessian(tanh_net(), [classification])
        assert torch.allclose(HessianOperator(objective) @ block, dense @ block, rtol=0, atol=1e-14)
        assert objective.engine.ways == {"hessian, 5 columns": Way("vmap", 2)}

    def test_an_operation_that_cannot_be_batched_leaves_the_loop(self, classification: Data, block: Tensor) -> None:
        for hvp in ("auto", "vmap"):
            objective = objective_of(nn.Sequential(tanh_net(), Valued()), [classification], hvp)
            operator = HessianOperator(objective)
            columns = torch.stack([operator @ column for column in block.unbind(dim=1)], dim=1)
            assert torch.allclose(operator @ block, columns, rtol=1e-13)
            assert objective.engine.ways["hessian, 5 columns"] == Way()

    @pytest.mark.parametrize(
        "kind", [GaussNewtonOperator, lambda o: block_diagonal(HessianOperator(o), o.space.layers())]
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
        (way,) = objective.engine.ways.values()
        assert way == Way("vmap", 5)

    def test_only_the_hessian_is_linearized(self, classification: Data) -> None:
        with pytest.raises(UsageError, match="not of ggn"):
            GaussNewtonOperator(objective_of(tanh_net(), [classification], "linearize"))

    def test_cuda_graphs_need_cuda(self, classification: Data) -> None:
        with pytest.raises(UsageError, match="not for cpu"):
            Objective(tanh_net(), [classification], device="cpu", engine=Engine(cuda_graphs="on"))


class Twice(torch.autograd.Function):
    """x^2 whose second derivative reads a value, which several vectors at once do not have."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        result: Tensor = Slope.apply(gradient, x)  # type: ignore[no-untyped-call]
        return result


class Slope(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gradient: Tensor, x: Tensor) -> Tensor:
        context.save_for_backward(gradient, x)
        return 2 * gradient * x

    @staticmethod
    def backward(context: Any, vector: Tensor) -> tuple[Tensor, Tensor]:
        gradient, x = context.saved_tensors
        float(vector.sum())
        return 2 * vector * x, 2 * vector * gradient


class Valued(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = Twice.apply(x)  # type: ignore[no-untyped-call]
        return result


class TestKeptGraphs:
    def test_one_piece_is_kept_at_once(self, classification: Data, counted: Counted, block: Tensor) -> None:
        operator = HessianOperator(objective_of(counted, [classification]))
        before = Counted.passes
        for columns in (1, 5, 2):
            operator @ block[:, :columns]
        assert Counted.passes - before == 1

    def test_several_are_kept_from_the_second_pass_on(
        self, classification: Data, counted: Counted, block: Tensor
    ) -> None:
        objective = objective_of(counted, [classification], micro_batch=10)
        operator, passes = HessianOperator(objective), [Counted.passes]
        for _ in range(4):
            operator @ block[:, 0]
            passes.append(Counted.passes)
        weighing = 2  # a few samples' graphs, of 8 and of 4
        assert np.diff(passes).tolist() == [3, 3 + weighing, 0, 0]
        assert objective.engine.graphs == "graphs kept"

    def test_none_is_kept_without_room(
        self, classification: Data, counted: Counted, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objective = objective_of(counted, [classification], micro_batch=10)
        monkeypatch.setattr("landscape.memory.available", lambda device: 1000)
        operator, expected = HessianOperator(objective), dense_hessian(tanh_net(), [classification]) @ block[:, 0]
        for _ in range(2):
            operator @ block[:, 0]
        before = Counted.passes
        assert torch.allclose(operator @ block[:, 0], expected, atol=1e-14)
        assert Counted.passes - before == 3
        assert objective.engine.graphs == "graphs rebuilt"

    def test_what_they_hold_is_as_planned(self, classification: Data) -> None:
        x, y = classification
        net = nn.Sequential(nn.Linear(5, 300), nn.Tanh(), nn.Linear(300, 3))
        objective = objective_of(net, [(x.repeat(20, 1), y.repeat(20))], micro_batch=100)
        operator = HessianOperator(objective)
        planned = operator._graphs.bytes(operator.graph)
        held = sum(weighed(operator.graph, [piece])[0] for piece in objective.micro_batches())
        assert planned == pytest.approx(held + 5 * objective.theta.nbytes, rel=0.05)

    def test_an_operator_lets_its_graphs_go(self, classification: Data) -> None:
        import gc
        import weakref

        gc.disable()
        try:
            operator = HessianOperator(objective_of(tanh_net(), [classification]))
            operator @ operator.like
            (graph,) = operator._graphs._kept.values()
            alive = weakref.ref(graph)
            del operator, graph
            assert alive() is None
        finally:
            gc.enable()


class TestOutOfMemory:
    """A device on which `most` columns of `samples` samples fit, and no kept graph beside them."""

    @pytest.fixture
    def small(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[tuple[int, int]]]:
        def limit(columns: int, samples: int) -> list[tuple[int, int]]:
            tried = []
            original = HessianOperator.graph

            def graph(self: HessianOperator, batch: Any) -> Any:
                inner = original(self, batch)

                def product(block: Tensor, *, together: int, keep: bool) -> Tensor:
                    tried.append((batch.size, together))
                    if together > columns or batch.size > samples:
                        raise torch.OutOfMemoryError("forced")
                    return inner(block, together=together, keep=keep)

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
        with pytest.raises(TaskError, match="one sample alone"):
            HessianOperator(objective_of(tanh_net(), [classification], "loop")) @ block

    def test_kept_graphs_are_let_go_first(
        self, classification: Data, block: Tensor, counted: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objective = objective_of(counted, [classification], "loop", micro_batch=12)
        operator, expected = HessianOperator(objective), dense_hessian(tanh_net(), [classification]) @ block
        for _ in range(2):
            operator @ block
        original, failures = operator._graphs.of, [2]

        def of(*arguments: Any) -> Any:
            if failures and len(operator._graphs._kept) == failures[0]:
                failures.clear()
                raise torch.OutOfMemoryError("forced")
            return original(*arguments)

        monkeypatch.setattr(operator._graphs, "of", of)
        assert torch.allclose(operator @ block, expected, rtol=0, atol=1e-13)
        assert not operator._graphs._kept
        assert objective.micro_batch == 12
        assert objective.engine.graphs == "graphs rebuilt"


class TestTheResult:
    def test_it_says_how_products_were_made(self) -> None:
        objective = landscape.load(SAMPLES / "digits-mlp.pt", hvp="vmap", limit=100)
        measurement = session.execute(Density(probes=4, steps=3), objective)
        assert json.loads(measurement.attributes["hvp"]) == ["hessian, 4 columns: vmap of 4 columns, graphs kept"]

    def test_a_resumed_run_goes_the_same_way(self, classification: Data) -> None:
        first, second = (objective_of(tanh_net(), [classification]) for _ in range(2))
        first.engine.ways["hessian, 8 columns"] = Way("vmap", 4)
        second.go_on(first.engine.to_json(), 7)
        assert second.engine.ways == first.engine.ways
        assert second.micro_batch == 7
        asked = objective_of(tanh_net(), [classification], "loop", micro_batch=3)
        asked.go_on(first.engine.to_json(), 7)
        assert not asked.engine.ways
        assert asked.micro_batch == 3
