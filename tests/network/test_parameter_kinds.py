"""What parameters are to their modules."""

from __future__ import annotations

import pytest
import torch
from conftest import quiet_transformers
from torch import nn

from landscape.network.parameter_kinds import parameter_kinds
from landscape.zoo import char_transformer, resnet


def test_kinds_in_a_residual_net() -> None:
    found = parameter_kinds(resnet(1))
    assert found["stem.weight"] == "weight"
    assert found["bn.weight"] == found["bn.bias"] == "norm"
    assert found["head.bias"] == "bias"
    assert set(found.values()) == {"weight", "norm", "bias"}


def test_kinds_in_a_transformer() -> None:
    found = parameter_kinds(char_transformer())
    assert found["tokens.weight"] == "embedding"
    assert found["positions.weight"] == "position"
    assert found["layers.0.norm1.weight"] == "norm"
    assert found["layers.0.qkv.weight"] == found["head.weight"] == "weight"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("cls_token", "position"),
        ("pos_embed", "position"),
        ("class_embedding", "position"),
        ("mixing", "weight"),
        ("compos", "weight"),
        ("gamma", "bias"),
    ],
)
def test_bare_parameters_go_by_their_names_and_shapes(name: str, role: str) -> None:
    model = nn.Module()
    model.register_parameter(name, nn.Parameter(torch.ones(3) if name == "gamma" else torch.ones(1, 3)))
    assert parameter_kinds(model)[name] == role


def test_a_class_embed_that_is_a_linear_layer_is_a_weight() -> None:
    model = nn.ModuleDict({"class_embed": nn.Linear(3, 2), "pos": nn.Linear(2, 2)})
    assert parameter_kinds(model)["class_embed.weight"] == parameter_kinds(model)["pos.weight"] == "weight"


def test_gains_of_weight_norm_belong_to_a_norm_and_attention_has_weights() -> None:
    model = nn.ModuleDict(
        {"a": nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), "b": nn.MultiheadAttention(4, 2)}
    )
    found = parameter_kinds(model)
    assert found["a.parametrizations.weight.original0"] == "norm"
    assert found["a.parametrizations.weight.original1"] == "weight"
    assert found["b.in_proj_weight"] == "weight"
    assert found["b.in_proj_bias"] == "bias"


def test_orthogonal_parametrization_has_no_gain() -> None:
    model = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    assert parameter_kinds(model)["parametrizations.weight.original"] == "weight"


def test_gpt2_and_t5_name_their_places() -> None:
    transformers = pytest.importorskip("transformers")
    with quiet_transformers():
        gpt = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        )
    found = parameter_kinds(gpt)
    assert found["transformer.wte.weight"] == "embedding"
    assert found["transformer.wpe.weight"] == "position"
    assert found["lm_head.weight"] == "weight"
    assert found["transformer.h.0.attn.c_attn.weight"] == "weight"
    assert found["transformer.h.0.ln_1.weight"] == "norm"
