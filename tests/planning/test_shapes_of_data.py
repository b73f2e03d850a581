"""The data of a plan: as they are, or as they are assumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from configurations import write_config
from safetensors.torch import save_file
from torch import nn

from landscape.conditions import Conditions
from landscape.errors import UsageError
from landscape.planning.meta_model import build_on_meta
from landscape.planning.shapes_of_data import data_shape


@pytest.fixture
def llama(tmp_path: Path) -> nn.Module:
    return build_on_meta(write_config(tmp_path / "net"), Conditions())


def test_sequences_are_as_long_as_the_models_positions_and_a_million_tokens_in_all(llama: nn.Module) -> None:
    shape = data_shape(llama, Conditions(), Path("net"))
    assert shape.samples == 2**20 // 48
    assert shape.sample.inputs["input_ids"].shape == (1, 48)
    assert shape.sample.inputs["input_ids"].is_meta
    assert "21,845 sequences of 48 tokens, assumed" in shape.words


@pytest.mark.parametrize(
    ("options", "samples", "length"),
    [({"limit": 8}, 8, 48), ({"seq_len": 32}, 2**15, 32), ({"seq_len": 16, "limit": 4}, 4, 16)],
)
def test_options_take_the_place_of_assumptions(
    options: dict[str, Any], samples: int, length: int, llama: nn.Module
) -> None:
    shape = data_shape(llama, Conditions(**options), Path("net"))
    assert shape.samples == samples
    assert shape.sample.inputs["input_ids"].shape == (1, length)


def test_a_length_that_is_the_width_of_a_weight_is_counted_one_shorter(tmp_path: Path) -> None:
    model = build_on_meta(write_config(tmp_path / "net", max_position_embeddings=64), Conditions())
    assert data_shape(model, Conditions(), Path("net")).sample.inputs["input_ids"].shape == (1, 63)


def test_more_tokens_than_positions_are_refused(llama: nn.Module) -> None:
    with pytest.raises(UsageError, match="--seq-len 49 of a model with 48 positions"):
        data_shape(llama, Conditions(seq_len=49), Path("net"))


def test_data_have_their_own_shape(llama: nn.Module, tmp_path: Path) -> None:
    save_file({"input_ids": torch.zeros(6, 20, dtype=torch.long)}, tmp_path / "batch.safetensors")
    shape = data_shape(llama, Conditions(data=str(tmp_path / "batch.safetensors")), Path("net"))
    assert shape.samples == 6
    assert shape.sample.inputs["input_ids"].shape == shape.sample.inputs["attention_mask"].shape == (1, 20)
    few = data_shape(llama, Conditions(data=str(tmp_path / "batch.safetensors"), limit=4), Path("net"))
    assert few.samples == 4


def test_images_have_the_size_of_the_configuration(tmp_path: Path) -> None:
    vit = {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "image_size": 16,
        "patch_size": 8,
        "num_channels": 3,
        "hidden_size": 32,
    }
    model = build_on_meta(write_config(tmp_path / "vit", **vit), Conditions())
    shape = data_shape(model, Conditions(), Path("vit"))
    assert shape.sample.inputs.shape == (1, 3, 16, 16)
    assert "1,000 images of 16 x 16, assumed" in shape.words


def test_a_model_of_ones_own_needs_data() -> None:
    with pytest.raises(UsageError, match="needs the shape of the data") as caught:
        data_shape(nn.Linear(2, 2, device="meta"), Conditions(), Path("none"))
    assert "--data" in caught.value.fix
