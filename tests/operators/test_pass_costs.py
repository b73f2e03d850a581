"""The expected costs of passes: ratios by counting, and memory that covers live tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from conftest import quiet_transformers, tanh_net
from torch import Tensor

from landscape import Objective
from landscape.choices import OperatorName
from landscape.compute import budget
from landscape.compute.strategy import ProductSettings, Strategy
from landscape.network.blocks import find_repeated_blocks
from landscape.objective import PlannedObjective
from landscape.objective.checks.float64 import float64_bytes
from landscape.objective.micro_batch import SampleCost
from landscape.operators import operator
from landscape.operators.pass_costs import (
    checks_memory,
    gradient_memory,
    gradients_per_product,
    keeps_graphs,
    likely_strategy,
    output_bytes,
    product_memory,
)
from landscape.planning.live_bytes import LiveBytes

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
    assert one["vectors of a product"] == 4 * vectors
    assert eight["vectors of a product"] == (4 + 2 * 7) * vectors
    assert one["columns"] == 0 < eight["columns"]
    assert one["outputs"] == 0
    objective.sample_cost = SampleCost(seconds=1.0, output_bytes=12)
    assert output_bytes(objective) == 12 * 24
    assert product_memory(objective, "hessian")["outputs"] > 0


def test_a_gradient_takes_less_than_a_product(objective: Objective) -> None:
    assert sum(gradient_memory(objective).values()) < sum(product_memory(objective, "hessian").values())
    assert gradient_memory(objective)["activations"] == objective.activation_bytes * 24 - objective.theta.nbytes


def test_smaller_micro_batches_without_kept_graphs_take_less(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = product_memory(objective, "hessian")["graphs"] * 2.3 / 3.0  # rebuilt, beside kept
    monkeypatch.setattr("landscape.compute.memory.free_bytes", lambda device: 100)
    objective.micro_batch = 6
    assert product_memory(objective, "hessian")["graphs"] == pytest.approx(whole / 4, abs=1)


def test_differences_of_gradients_hold_no_graph_of_a_gradient(classification: Data) -> None:
    differences = ProductSettings(hvp="difference")
    objective = Objective(tanh_net(), [classification], "cross_entropy", settings=differences)
    memory = product_memory(objective, "hessian", 2)
    assert memory["vectors of a product"] == (4 + 2 * 2) * 39 * 4
    assert memory["activations"] == objective.activation_bytes * 24 - objective.theta.nbytes
    assert "graphs" not in memory


SHAPES = {  # vocabulary, width, layers, tokens, sequences: parameters, activations and outputs prevail in turn
    "parameters": (500, 160, 6, 64, 1),
    "activations": (500, 160, 6, 256, 1),
    "sequences": (500, 160, 6, 64, 4),
    "outputs": (5000, 64, 2, 256, 1),
    "wide-outputs": (20000, 64, 2, 128, 2),
}


@pytest.fixture(scope="module", params=SHAPES.values(), ids=list(SHAPES))
def transformer(request: pytest.FixtureRequest) -> Objective:
    vocabulary, width, layers, tokens, sequences = request.param
    torch.manual_seed(0)
    with quiet_transformers():
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=vocabulary,
            n_positions=tokens,
            n_embd=width,
            n_layer=layers,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
            attn_implementation="eager",
        )
        return PlannedObjective(
            GPT2LMHeadModel(config), [{"input_ids": torch.randint(0, vocabulary, (sequences, tokens))}]
        )


def live_bytes(work: Callable[[], object], known: list[Tensor]) -> int:
    """The bytes of all tensors that are alive at once in work that has run before."""
    work()
    with LiveBytes(lambda tensor: "activations", known) as live:
        work()
    return live.peak


@pytest.mark.parametrize("name", ["hessian", "ggn", "fisher"])
def test_the_memory_of_a_product_is_within_a_third_of_its_live_tensors(
    name: OperatorName, transformer: Objective
) -> None:
    column = torch.ones(transformer.space.size, 1)

    def twice() -> None:
        """The second product has a kept graph."""
        matrix = operator(name, transformer)
        for _ in range(2):
            matrix @ column

    live = live_bytes(twice, list(transformer.tensors()))
    planned = sum(product_memory(transformer, name).values())
    assert 1 / 1.3 < live / (planned - transformer.theta.nbytes) < 1.3  # the column was there before


def test_the_memory_of_a_gradient_is_within_a_third_of_its_live_tensors(transformer: Objective) -> None:
    live = live_bytes(transformer.gradient, list(transformer.tensors()))
    assert 1 / 1.3 < live / sum(gradient_memory(transformer).values()) < 1.3


def test_the_memory_of_a_large_gradient_is_within_a_third_of_its_live_tensors(
    transformer: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    live = live_bytes(transformer.gradient, list(transformer.tensors()))
    assert 1 / 1.3 < live / sum(gradient_memory(transformer).values()) < 1.3


def test_the_checks_count_for_large_models_alone(objective: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks_memory(objective) == 0
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    objective.micro_batch = 1
    least = 2 * objective.theta.nbytes  # theta in float64, since the net repeats no block
    assert least < checks_memory(objective) < 2 * least


def test_the_checks_count_one_block_in_float64(transformer: Objective, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LARGE_SIZE", 10)
    whole, (layers, *_) = transformer.theta.nbytes, find_repeated_blocks(transformer.model)
    of_a_layer = 4 * sum(parameter.numel() for parameter in layers.parameters())
    count = len(find_repeated_blocks(transformer.model))
    assert float64_bytes(transformer.function) == 2 * (whole - (count - 1) * of_a_layer)
    assert checks_memory(transformer) >= whole + transformer.activation_bytes  # other weights, before it
