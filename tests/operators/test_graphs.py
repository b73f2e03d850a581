"""Graphs are kept from product to product: which, from when on, while there is room, and while they stay true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from oracles.dense import dense_hessian
from product_cases import Counted, objective_of
from torch import Tensor, nn

from landscape import Objective
from landscape.operators import HessianOperator

Data = tuple[Tensor, Tensor]


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
                self.mask = torch.zeros(5, dtype=torch.float64)  # no buffer: those are given to each pass anew

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
