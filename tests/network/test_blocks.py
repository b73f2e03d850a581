"""Which modules of a model are its repeated blocks."""

from __future__ import annotations

import pytest
from torch import nn

from landscape.network.blocks import find_repeated_blocks
from landscape.zoo.resnet import resnet


def block() -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)


def test_the_layers_of_transformers_are_blocks() -> None:
    model = nn.Transformer(4, 2, 2, 3, 8, batch_first=True)
    assert find_repeated_blocks(model) == (*model.encoder.layers, *model.decoder.layers)


def test_a_language_model_of_transformers_repeats_its_layers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=7, n_positions=4, n_embd=4, n_layer=2, n_head=2)
    config.bos_token_id = config.eos_token_id = 0
    model = transformers.GPT2LMHeadModel(config)
    assert find_repeated_blocks(model) == tuple(model.transformer.h)


def test_the_outermost_repetition_counts() -> None:
    inner = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for _ in range(3))
    outer = nn.ModuleList(nn.Sequential(block(), inner) for _ in range(2))
    assert find_repeated_blocks(nn.Sequential(nn.Linear(2, 2), outer)) == tuple(outer)


def test_layers_that_a_model_also_holds_in_stages_are_blocks_once() -> None:
    layers = nn.ModuleList(block() for _ in range(4))
    stages = nn.ModuleList([nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:])])
    for model in (nn.ModuleDict({"a": layers, "b": stages}), nn.ModuleDict({"a": stages, "b": layers})):
        assert find_repeated_blocks(model) == tuple(stages)


def test_stages_of_residual_nets_are_blocks_and_a_module_that_is_used_twice_is_one() -> None:
    assert len(find_repeated_blocks(resnet(blocks=2))) == 6
    shared = block()
    assert find_repeated_blocks(nn.ModuleList([shared, shared])) == (shared,)


def test_layers_and_lists_of_different_modules_are_none() -> None:
    plain = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    mixed = nn.Sequential(block(), nn.Sequential(nn.Linear(2, 2)))
    single = nn.ModuleList([block()])
    lists = nn.ModuleList(nn.ModuleList([nn.Linear(2, 2)]) for _ in range(2))
    free = nn.Sequential(*(nn.Sequential(nn.Tanh()) for _ in range(2)))
    assert [find_repeated_blocks(model) for model in (plain, mixed, single, lists, free)] == [()] * 5
