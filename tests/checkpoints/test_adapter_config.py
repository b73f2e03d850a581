"""The config of an adapter is read as data: a plain low-rank one is followed, everything else is refused by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from adapters import write_adapter, write_settings

from landscape.checkpoints import inspection
from landscape.checkpoints.adapter_config import LoraSettings, base_directory, read_adapter
from landscape.errors import CheckpointError

PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 5, "base_model_name_or_path": "somewhere/model"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, r"of the kind IA3, not LORA\n.*PeftModel.from_pretrained"),
        ({"use_dora": True}, r"asks for more than low-rank matrices: use_dora = True\n.*merge_and_unload"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"target_parameters": ["w"]}, "target_parameters"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = pissa"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"a_new_method": {"x": 1}}, "a_new_method"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "alpha_pattern"),
        ({"alpha_pattern": [1]}, "alpha_pattern"),
        ({"lora_alpha": "5"}, "no numbers: lora_alpha"),
        ({"lora_alpha": True}, "no numbers"),
        ({"alpha_pattern": {"q_proj": None}}, "no numbers"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_no_plain_adapter_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_settings(tmp_path, {**PLAIN, **change})
    with pytest.raises(CheckpointError, match=message):
        read_adapter(tmp_path)


@pytest.mark.parametrize("content", ["[1]", "{", "null"])
def test_damaged_settings_are_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(content)
    with pytest.raises(CheckpointError, match="no table of settings|no JSON"):
        read_adapter(tmp_path)


def test_missing_settings_are_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_adapter(tmp_path)


def test_scales_are_by_module_and_rank() -> None:
    settings = LoraSettings(8, False, {"q_proj": 3, "mlp.up": 5}, 0.0, "")
    assert settings.scale("layers.0.q_proj", 2) == 1.5
    assert settings.scale("layers.0.mlp.up", 2) == 2.5
    assert settings.scale("layers.0.other_q_proj", 2) == 4  # the end of a word is no name
    assert LoraSettings(8, True, {}, 0.0, "").scale("x", 4) == 8 / math.sqrt(4)


class TestTheModelBelow:
    def test_a_name_beside_the_adapter_is_found(self, tmp_path: Path) -> None:
        adapter = write_adapter("llama", tmp_path, base_model_name_or_path="../base")
        assert base_directory(adapter, None).samefile(tmp_path / "base")

    @pytest.mark.parametrize("name", ["meta/model", "", None, "//host/share", "\\\\host\\share", "a\0b", 5])
    def test_a_name_that_is_no_directory_here_is_said(self, name: Any, tmp_path: Path) -> None:
        write_settings(tmp_path, {**PLAIN, "base_model_name_or_path": name})
        with pytest.raises(CheckpointError, match=r"not on this machine\n.*--base DIR"):
            base_directory(tmp_path, None)

    def test_a_wrong_base_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"--base .* is no directory of a Hugging Face model"):
            base_directory(tmp_path, str(tmp_path))


def test_inspection_names_the_model_below(tmp_path: Path) -> None:
    adapter = write_adapter("llama", tmp_path)
    seen = inspection.inspect(adapter)
    assert seen.format == "PEFT adapter directory"
    assert seen.architecture == f"LoRA adapter of {tmp_path / 'base'}"
    assert seen.missing() == ("data",)
