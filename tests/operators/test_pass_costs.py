"""The expected costs of passes: ratios by counting, and memory that covers live tensors."""

from __future__ import annotations

import pytest
from conftest import tanh_net
from torch import Tensor

from landscape import Objective
from landscape.choices import OperatorName
from landscape.compute.strategy import ProductSettings, Strategy
from landscape.objective.micro_batch import SampleCost
from landscape.operators.pass_costs import (
    gradient_memory,
    gradients_per_product,
    keeps_graphs,
    likely_strategy,
    output_bytes,
    product_memory,
)

Data = tuple[Tensor, Tensor]


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy")


@pytest.mark.parametrize(
    ("name", "kept", "rebuilt"),
    [("hessian", 2, 3), ("preconditioned", 2, 3), ("ggn", 1.5, 2.5), ("fisher", 1.5, 2.5), ("pyhessian", 3.5, 3.5)],
)
def test_products_cost_what_counting_passes_gives(name: OperatorName, kept: float, rebuilt: float) -> None:
    assert (gradients_per_product(name, kept=True), gradients_per_product(name, kept=False)) == (kept, rebuilt)


def test_graphs_are_kept_where_they_have_room(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    objective.micro_batch = 6
    assert keeps_graphs(objective)
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: 100)
    assert not keeps_graphs(objective)
    objective.micro_batch = 24  # a single graph must fit in any case
    assert keeps_graphs(objective)


@pytest.mark.parametrize("hvp", ["auto", "loop", "vmap"])
def test_the_likely_strategy_follows_the_settings(hvp: str, classification: Data) -> None:
    settings = ProductSettings(hvp=hvp)  # type: ignore[arg-type]
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=settings)
    expected = Strategy() if hvp == "loop" else Strategy("vmap", 8)
    assert likely_strategy(objective, "hessian", 8) == expected


def test_the_memory_of_a_product_grows_with_its_columns_and_its_outputs(objective: Objective) -> None:
    one, eight = product_memory(objective, "hessian"), product_memory(objective, "hessian", 8)
    vectors = 39 * 4
    assert one["vectors of a product"] == 5 * vectors
    assert eight["vectors of a product"] == (5 + 2 * 7) * vectors
    assert one["columns"] == 0 < eight["columns"]
    assert one["outputs"] == 0
    objective.sample_cost = SampleCost(seconds=1.0, output_bytes=12)
    assert output_bytes(objective) == 12 * 24
    assert product_memory(objective, "hessian")["outputs"] > 0
    assert gradient_memory(objective)["outputs"] == 2 * 12 * 24


def test_a_gradient_takes_less_than_a_product(objective: Objective) -> None:
    assert sum(gradient_memory(objective).values()) < sum(product_memory(objective, "hessian").values())
    assert gradient_memory(objective)["activations"] == objective.activation_bytes * 24


def test_smaller_micro_batches_without_kept_graphs_take_less(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = product_memory(objective, "hessian")["graphs"]
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: 100)
    objective.micro_batch = 6
    assert product_memory(objective, "hessian")["graphs"] == pytest.approx(whole / 4, abs=1)


def test_differences_of_gradients_hold_no_graph_of_a_gradient(classification: Data) -> None:
    differences = ProductSettings(hvp="difference")
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=differences)
    memory = product_memory(objective, "hessian", 2)
    assert memory["vectors of a product"] == (4 + 2 * 2) * 39 * 4
    assert memory["activations"] == objective.activation_bytes * 24
    assert "graphs" not in memory
