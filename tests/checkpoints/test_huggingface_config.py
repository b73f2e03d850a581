"""The config.json of a directory is read as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_models import batch, file_of, saved

import landscape
from landscape.errors import CheckpointError, LandscapeError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["GPT2Model"]}, r"architecture GPT2Model, which has no loss.*\n.*\n.*--model pkg.mod"),
        ({"architectures": None}, r"names no architecture\n.*--model"),
        ({"architectures": None, "architecture": "resnet18"}, r"a model of timm: resnet18\n.*timm.create_model"),
        ({"model_type": "nosuch"}, r"of the family nosuch, which is not among those known.*\n.*\n.*--model"),
        ({"n_layer": 3}, r"does not hold the weights.*missing transformer.h.2"),
        ({"n_embd": 16}, r"transformers cannot build GPT2LMHeadModel.*ismatch"),
        ({"n_layer": 1}, r"does not hold the weights.*unexpected transformer.h.1"),
        ({"configuration_files": ["config.4.0.0.json"]}, "asks for configuration_files"),
        ({"model_type": "timm_wrapper"}, "family timm_wrapper, which is not among those known"),
        ({"n_layer": 3000}, "asks for n_layer = 3000, and there are 28 tensors"),
        ({"auto_map": {"AutoModel": "x.Y"}}, r"asks for auto_map.*\n.*\n.*if you trust it"),
    ],
    ids=["base", "none", "timm", "type", "missing", "sizes", "unexpected", "files", "wrapper", "layers", "code"],
)
def test_a_config_that_cannot_be_followed_is_said(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path, _ = saved("gpt2", tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(LandscapeError, match=message):
        landscape.load(path, data=file_of(batch("gpt2"), tmp_path))


def test_an_adapter_beside_the_model_is_refused(tmp_path: Path) -> None:
    path, _ = saved("gpt2", tmp_path)
    (path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="PEFT adapter beside"):
        landscape.load(path, data=file_of(batch("gpt2"), tmp_path))
