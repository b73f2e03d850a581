"""Operations by counting, and memory as it is on the CPU."""

from __future__ import annotations

import pytest
import torch
from conftest import quiet_transformers
from torch import nn

from landscape import Objective
from landscape.data.batches import Batch
from landscape.operators import HessianOperator
from landscape.planning.live_bytes import LiveBytes
from landscape.planning.meta_objective import MetaObjective
from landscape.planning.pass_sizes import (
    INSIDE,
    block_bytes,
    cut_blocks,
    extrapolate_sizes,
    gradient_sizes,
    longest_list,
    product_sizes,
)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def meta_mlp() -> MetaObjective:
    with torch.device("meta"):
        sample = Batch(torch.zeros(1, 6), torch.zeros(1, dtype=torch.long))
        return MetaObjective(mlp(), sample, 10, "cross_entropy")


def test_a_gradient_multiplies_three_times_and_a_product_nine_times_as_often_as_a_forward_pass() -> None:
    """But for the first matrix, whose inputs have no derivative: 2 and 4 times."""
    objective, first, second = meta_mlp(), 6 * 8, 8 * 3
    assert gradient_sizes(objective).operations == 2 * (2 * first + 3 * second)
    assert product_sizes(objective, "hessian").operations == 2 * (4 * first + 9 * second)
    assert product_sizes(objective, "ggn").operations < product_sizes(objective, "hessian").operations


def gpt(layers: int = 3) -> nn.Module:
    with quiet_transformers():
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        config = GPT2Config(vocab_size=97, n_positions=32, n_embd=24, n_layer=layers, n_head=2, use_cache=False)
        config._attn_implementation = "eager"
        return GPT2LMHeadModel(config).eval()


def meta_gpt(layers: int = 3) -> MetaObjective:
    with torch.device("meta"):
        ids = torch.zeros(1, 30, dtype=torch.long)
        sample = Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ids)
        return MetaObjective(gpt(layers), sample, 8, "hf")


def test_memory_on_the_meta_device_is_that_on_the_cpu() -> None:
    ids = torch.randint(0, 97, (1, 30))
    real = Objective(gpt(), [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}])
    planned = product_sizes(meta_gpt(), "hessian")
    (batch,) = real.micro_batches()
    column = torch.ones(real.space.size, 1)
    with LiveBytes(lambda tensor: "activations", [*real.tensors(), column]) as live:
        HessianOperator(real).graph(batch)(column, chunk_size=1, retain_graph=False)
    assert planned.vectors + planned.graph == pytest.approx(live.peak, rel=0.3)
    assert planned.inside["attention"] >= 3 * 2 * 30 * 30 * 4  # the scores of each layer, at least


def test_costs_of_few_blocks_tell_those_of_many() -> None:
    objectives = [meta_gpt(layers) for layers in (3, 4, 9)]
    for count in (gradient_sizes, lambda one: product_sizes(one, "hessian")):
        three, four, whole = map(count, objectives)
        sizes = objectives[0].space.size, objectives[1].space.size
        guess = extrapolate_sizes(three, four, 9, objectives[2].space.size, sizes)
        assert guess.operations == whole.operations
        assert guess.graph == pytest.approx(whole.graph, rel=0.02)
        assert guess.vectors == pytest.approx(whole.vectors, rel=0.1)


def test_the_bytes_of_a_block_are_those_of_its_parameters() -> None:
    each = sum(parameter.numel() for parameter in gpt().transformer.h[0].parameters())  # type: ignore[union-attr, index]
    assert block_bytes(meta_gpt()) == 4 * each
    assert block_bytes(meta_mlp()) == 4 * (6 * 8 + 8 + 8 * 3 + 3)


def test_blocks_that_run_again_take_more_operations_and_hold_one_block() -> None:
    sizes = [[product_sizes(one, "hessian") for one in (meta_gpt(n), meta_gpt(n).with_blocks())] for n in (3, 9)]
    (plain, again), (plain_of_more, again_of_more) = sizes
    assert again.operations > 1.2 * plain.operations
    assert again_of_more.inside["attention"] == again.inside["attention"] < plain.inside["attention"]
    assert again_of_more.graph < plain_of_more.graph / 2


def test_a_shortened_list_is_whole_again_afterwards() -> None:
    model = gpt()
    blocks = longest_list(model)
    assert blocks is not None
    before = list(blocks)
    with cut_blocks(blocks, 2):
        assert len(blocks) == 2
        assert model(torch.zeros(1, 4, dtype=torch.long)).logits.shape == (1, 4, 97)
    assert list(blocks) == before


@pytest.mark.parametrize("name", ["ggn", "fisher", "empirical-fisher", "preconditioned", "pyhessian"])
def test_every_matrix_has_sizes(name: str) -> None:
    sizes = product_sizes(meta_gpt(), name)  # type: ignore[arg-type]
    assert sizes.operations > gradient_sizes(meta_gpt()).operations
    assert set(sizes.inside) == set(INSIDE)
