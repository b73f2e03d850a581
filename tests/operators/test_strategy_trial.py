"""Which strategy is taken: the candidates as a table, the trial, and the fallback after errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tanh_net
from oracles.dense import dense_hessian
from product_cases import Valued, objective_of
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.strategy import CudaGraphs, Hvp, ProductKey, ProductSettings, Strategy, StrategyKind
from landscape.errors import UsageError
from landscape.operators import GaussNewtonOperator, HessianOperator, strategy_trial
from landscape.operators.graphs import GraphCache
from landscape.operators.strategy_trial import ProductFacts, candidates, fallback

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


FACTS = ProductFacts(columns=8, activation_bytes=1000, device="cpu", room=1 << 30, traceable=True, compilable=True)
LOOP, VMAP = Strategy(), Strategy("vmap", 8)


@pytest.mark.parametrize(
    ("facts", "settings", "expected"),
    [
        (FACTS, ProductSettings(), [VMAP, LOOP]),
        (replace(FACTS, activation_bytes=1 << 20), ProductSettings(), [LOOP, VMAP]),
        (replace(FACTS, columns=1), ProductSettings(), [LOOP]),
        (replace(FACTS, room=3750), ProductSettings(), [Strategy("vmap", 3), LOOP]),
        (replace(FACTS, room=1000), ProductSettings(), [LOOP]),
        (replace(FACTS, activation_bytes=100 << 20), ProductSettings(), [LOOP, Strategy("vmap", 2)]),
        (replace(FACTS, activation_bytes=100 << 20), ProductSettings("vmap"), [VMAP]),
        (FACTS, ProductSettings("loop"), [LOOP]),
        (FACTS, ProductSettings("vmap"), [VMAP]),
        (replace(FACTS, columns=1), ProductSettings("vmap"), [LOOP]),
        (FACTS, ProductSettings("linearize"), [Strategy("linearize", 8)]),
        (replace(FACTS, traceable=False), ProductSettings("linearize"), [VMAP, LOOP]),
        (FACTS, ProductSettings(compile=True), [VMAP, LOOP, Strategy("compiled", 8)]),
        (replace(FACTS, compilable=False), ProductSettings(compile=True), [VMAP, LOOP]),
        (FACTS, ProductSettings("loop", cuda_graphs="on"), [LOOP]),
    ],
    ids=[
        "small-nets-begin-with-vmap",
        "larger-nets-with-the-loop",
        "one-column-is-a-loop",
        "columns-fit-into-the-room",
        "none-but-one-fits",
        "and-into-the-limit-of-a-cpu",
        "which-is-not-for-those-who-ask",
        "the-loop-as-asked",
        "vmap-as-asked",
        "which-one-column-has-not",
        "linearized-as-asked",
        "unless-it-cannot-be-traced",
        "compiled-beside-the-others",
        "unless-it-cannot-be-compiled",
        "nothing-is-recorded-on-a-cpu",
    ],
)
def test_the_candidates(facts: ProductFacts, settings: ProductSettings, expected: list[Strategy]) -> None:
    def asked() -> bool:
        raise AssertionError("graphs are not weighed where nothing may be recorded")

    assert candidates(facts, settings, asked) == expected


RECORDED = [Strategy("recorded", 8), Strategy("recorded")]


@pytest.mark.parametrize(
    ("size", "cuda_graphs", "safe", "fit", "expected"),
    [
        (1000, "auto", True, True, [VMAP, LOOP, *RECORDED]),
        (1000, "auto", False, True, [VMAP, LOOP]),
        (1000, "auto", True, False, [VMAP, LOOP]),
        (1000, "off", True, True, [VMAP, LOOP]),
        (1000, "on", False, True, RECORDED),
        (16 << 20, "auto", True, True, [LOOP, VMAP]),
        (16 << 20, "on", True, True, RECORDED[::-1]),
    ],
    ids=["small", "unsafe-torch", "no-room", "off", "on", "busy-gpu", "busy-gpu-on"],
)
def test_the_candidates_on_cuda(
    size: int, cuda_graphs: CudaGraphs, safe: bool, fit: bool, expected: list[Strategy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategy_trial, "recording_is_safe", lambda: safe)
    facts = replace(FACTS, device="cuda", activation_bytes=size)
    assert candidates(facts, ProductSettings(cuda_graphs=cuda_graphs), lambda: fit) == expected


class TestTheFallback:
    """After an error: the strategy that follows, what is no longer kept, and the notes."""

    @pytest.fixture
    def graphs(self, classification: Data) -> GraphCache:
        operator = HessianOperator(objective_of(tanh_net(), [classification]))
        operator @ operator.like
        assert operator._graphs.keeping
        return operator._graphs

    def test_memory_that_runs_out_halves_columns_then_keeps_no_graphs_then_raises(self, graphs: GraphCache) -> None:
        error, strategies = torch.OutOfMemoryError("forced"), [Strategy("vmap", 9)]
        for _ in range(3):
            strategies.append(fallback(strategies[-1], error, graphs, pytest.fail))
        assert strategies[1:] == [Strategy("vmap", 4), Strategy("vmap", 2), LOOP]
        assert graphs.keeping
        assert fallback(LOOP, error, graphs, pytest.fail) == LOOP
        assert not graphs.keeping
        with pytest.raises(torch.OutOfMemoryError, match="forced"):
            fallback(LOOP, error, graphs, pytest.fail)

    @pytest.mark.parametrize("kind", ["compiled", "recorded"])
    def test_a_program_that_fails_is_left_with_a_note(self, graphs: GraphCache, kind: StrategyKind) -> None:
        notes: list[str] = []
        assert fallback(Strategy(kind, 4), ValueError("no way\nmore"), graphs, notes.append) == LOOP
        assert notes == [f"products are not {kind}: no way"]

    def test_a_model_that_writes_into_kept_graphs_has_none(self, graphs: GraphCache) -> None:
        error = RuntimeError("one of the variables has been modified by an inplace operation")
        assert fallback(VMAP, error, graphs, pytest.fail) == VMAP
        assert not graphs.keeping
        graphs.release()
        assert not graphs.keeping  # for good
        with pytest.raises(RuntimeError, match="inplace"):
            fallback(VMAP, error, graphs, pytest.fail)

    def test_other_errors_are_raised(self, graphs: GraphCache) -> None:
        with pytest.raises(ValueError, match="a bug"):
            fallback(LOOP, ValueError("a bug"), graphs, pytest.fail)
