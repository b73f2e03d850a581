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
from landscape import Density, Objective, operators, session
from landscape.compute.strategy import Hvp, ProductKey, ProductSettings, Strategy, StrategyCache
from landscape.errors import TaskError, UsageError
from landscape.operators import GaussNewtonOperator, HessianOperator, strategy_trial

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
    return Objective(model, data, "cross_entropy", **{"dtype": "float64"} | options, settings=ProductSettings(hvp))


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

    def test_cuda_graphs_need_cuda(self, classification: Data) -> None:
        with pytest.raises(UsageError, match="not for cpu"):
            Objective(tanh_net(), [classification], device="cpu", settings=ProductSettings(cuda_graphs="on"))


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
        tried = 3  # graphs, to see whether the kept ones have stayed what they were
        assert np.diff(passes).tolist() == [3, 3 + weighing, tried, 0]
        assert "graphs kept" in objective.strategies.graphs.values()

    def test_none_is_kept_without_room(
        self, classification: Data, counted: Counted, block: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objective = objective_of(counted, [classification], micro_batch=10)
        monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: 1000)
        operator, expected = HessianOperator(objective), dense_hessian(tanh_net(), [classification]) @ block[:, 0]
        for _ in range(2):
            operator @ block[:, 0]
        before = Counted.passes
        assert torch.allclose(operator @ block[:, 0], expected, atol=1e-14)
        assert Counted.passes - before == 3
        assert "graphs rebuilt" in objective.strategies.graphs.values()

    def test_what_they_hold_is_as_planned(self, classification: Data) -> None:
        x, y = classification
        net = nn.Sequential(nn.Linear(5, 300), nn.Tanh(), nn.Linear(300, 3))
        objective = objective_of(net, [(x.repeat(20, 1), y.repeat(20))], micro_batch=100)
        operator = HessianOperator(objective)
        planned = operator._graphs.estimate_bytes(operator.graph)
        held: dict[int, int] = {}
        graphs = []

        def weigh(tensor: Tensor) -> Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
            graphs += [operator.graph(piece) for piece in objective.micro_batches()]
        known = (objective.theta, *objective.batches.whole.map(lambda t: t).arguments[0])  # type: ignore[union-attr]
        for tensor in (*known, objective.batches.whole.targets):  # type: ignore[union-attr]
            held.pop(tensor.untyped_storage().data_ptr(), None)
        assert planned == pytest.approx(sum(held.values()) + 5 * objective.theta.nbytes, rel=0.05)

    def test_what_every_piece_holds_by_itself_is_planned_for_each(self, classification: Data) -> None:
        class Squashed(nn.Module):
            """Its graph holds a tensor of the size of its weights."""

            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.randn(3, 5) * torch.ones(200, 1, 1))

            def forward(self, x: Tensor) -> Tensor:
                return x @ torch.tanh(self.weight).mean(dim=0).T

        x, y = classification
        objective = objective_of(Squashed(), [(x, y)], micro_batch=8)
        operator = HessianOperator(objective)
        weights = objective.theta.nbytes
        assert (
            operator._graphs.estimate_bytes(operator.graph) > 3 * 2 * weights
        )  # its gradient, and tanh of it, for three pieces

    def test_smaller_pieces_are_kept_again(
        self, classification: Data, block: Tensor, counted: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objective = objective_of(counted, [classification], "loop")
        operator, expected = HessianOperator(objective), dense_hessian(tanh_net(), [classification]) @ block
        operator @ block
        failures = [torch.OutOfMemoryError("forced")] * 2  # with the kept graph, and without
        original = operator._multiply

        def pulled(*arguments: Any) -> Tensor:
            if failures:
                raise failures.pop()
            return original(*arguments)

        monkeypatch.setattr(operator, "_multiply", pulled)
        for _ in range(4):
            assert torch.allclose(operator @ block, expected, rtol=0, atol=1e-13)
        assert objective.micro_batch == 12
        before = Counted.passes
        operator @ block
        assert Counted.passes == before
        assert "graphs kept" in objective.strategies.graphs.values()

    @pytest.mark.parametrize("hidden", [False, True], ids=["seen by torch", "hidden"])
    @pytest.mark.parametrize("lengths", [(2, 5, 3), (5, 2, 5)])
    def test_a_model_that_writes_into_what_it_keeps_is_measured_anew_each_time(
        self, hidden: bool, lengths: tuple[int, ...]
    ) -> None:
        class Masked(nn.Module):
            """It refills one buffer for sequences of each length."""

            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(4, 3)
                self.register_buffer("mask", torch.zeros(5))

            def forward(self, x: Tensor) -> Tensor:
                mask = self.mask.data if hidden else self.mask
                mask.fill_(1 / x.shape[1])
                weighed = torch.tanh(self.inner(x)) * self.mask[: x.shape[1], None]
                return weighed.sum(dim=1)

        torch.manual_seed(0)
        data = [(torch.randn(3, length, 4), torch.randint(0, 3, (3,))) for length in lengths]
        model = Masked()
        objective = objective_of(model, data)
        operator, vector = HessianOperator(objective), torch.randn(15, dtype=torch.float64)
        products = [operator @ vector for _ in range(4)]
        operator.release()  # as for want of memory: that they may not be kept stays known
        products += [operator @ vector for _ in range(3)]
        several = torch.stack([vector, -vector], dim=1)
        products += [(operator @ several)[:, 0]]
        assert all(torch.allclose(product, products[0], rtol=1e-12) for product in products)
        assert set(objective.strategies.graphs.values()) == {"graphs rebuilt"}

    def test_such_a_model_meets_a_trial(self) -> None:
        class Refilled(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                self.scale.fill_(1 / len(x))
                return torch.tanh(super().forward(x)) * self.scale

        torch.manual_seed(0)
        model = Refilled(4, 3)
        model.register_buffer("scale", torch.zeros(1))
        objective = objective_of(model, [(torch.randn(n, 4), torch.randint(0, 3, (n,))) for n in (2, 5)], micro_batch=4)
        operator, block = HessianOperator(objective), torch.randn(15, 5, dtype=torch.float64)
        expected = torch.stack([HessianOperator(objective) @ column for column in block.T], dim=1)
        for _ in range(2):
            operator @ block[:, 0]
        assert torch.allclose(operator @ block, expected, rtol=1e-12)

    def test_data_that_stay_in_memory_do_not_count_as_graphs(self) -> None:
        x, y = torch.randn(400, 2000), torch.randint(0, 2, (400,))
        net = nn.Sequential(nn.Flatten(), nn.AvgPool1d(1000), nn.Linear(2, 2))
        objective = Objective(net, [(x, y)], "cross_entropy", micro_batch=100)
        operator = HessianOperator(objective)
        assert operator._graphs.estimate_bytes(operator.graph) < x.nbytes / 10

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


def operator_at_twice(x: Tensor, y: Tensor) -> HessianOperator:
    objective = objective_of(tanh_net(), [(x, y)], "loop")
    return HessianOperator(objective, 2 * objective.theta)


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
        with pytest.raises(TaskError, match="one sample alone"):
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
