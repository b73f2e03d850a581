"""The adapter_config.json of a PEFT directory, read as data: which low-rank adapter it is, and of which model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from landscape.checkpoints import json_data
from landscape.checkpoints.formats.directories import ADAPTER_CONFIG, CONFIG_FILE
from landscape.errors import CheckpointError, listing, safe_excerpt
from landscape.storage.bounded import read_bounded

MAX_CONFIG_SIZE = 1 << 22  # bytes
# Settings that change nothing in what a trained adapter computes
WITHOUT_EFFECT = set(
    "peft_type peft_version task_type base_model_name_or_path revision inference_mode auto_mapping target_modules "
    "exclude_modules layers_to_transform layers_pattern modules_to_save bias fan_in_fan_out megatron_core "
    "qalora_group_size runtime_config r lora_alpha alpha_pattern rank_pattern use_rslora lora_dropout "
    "init_lora_weights".split()
)
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # initial weights that leave the base as it is
BY_HAND = (
    "a function that puts it on its model by itself: --model FILE.py:build, with "
    "return PeftModel.from_pretrained(base, DIR); or merge it: model.merge_and_unload().save_pretrained(DIR)"
)


@dataclass(frozen=True)
class LoraSettings:
    """A low-rank adapter: W x + scale B A x with scale alpha / r, or alpha / sqrt(r) with `rank_stabilized`.

    `alphas` are those of single modules, by the ends of their names; `base` is the name of the model below, which may
    be a directory.
    """

    alpha: float
    rank_stabilized: bool
    alphas: Mapping[str, float]
    dropout: float
    base: str

    def scale(self, module: str, rank: int) -> float:
        """The factor of B A x in a module of this name."""
        own = (value for name, value in self.alphas.items() if module == name or module.endswith(f".{name}"))
        alpha = next(own, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def read_adapter(directory: Path) -> LoraSettings:
    """The settings of a PEFT directory; raises CheckpointError unless they describe a plain low-rank adapter."""
    path = directory / ADAPTER_CONFIG
    try:
        config = json_data.parse_json(read_bounded(path, MAX_CONFIG_SIZE), path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}", fix="download it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is no table of settings", fix="download it again")
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{path} describes an adapter of the kind {safe_excerpt(kind)}, not LORA", fix=BY_HAND)
    special = [key for key, value in config.items() if value and key not in WITHOUT_EFFECT]
    special += [] if config.get("init_lora_weights") in PLAIN_STARTS else ["init_lora_weights"]
    alphas = config.get("alpha_pattern") or {}
    if not isinstance(alphas, dict) or any(not name.replace(".", "").isidentifier() for name in alphas):
        special.append("alpha_pattern")
    if special:
        settings = listing(f"{name} = {safe_excerpt(config.get(name))}" for name in special)
        raise CheckpointError(f"{path} asks for more than low-rank matrices: {settings}", fix=BY_HAND)
    numbers = [config.get("lora_alpha", 8), config.get("lora_dropout", 0.0), *alphas.values()]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise CheckpointError(f"{path} has settings that are no numbers: lora_alpha", fix="save the adapter again")
    base = config.get("base_model_name_or_path")
    return LoraSettings(
        numbers[0], bool(config.get("use_rslora")), alphas, numbers[1], base if isinstance(base, str) else ""
    )


def base_directory(directory: Path, named: str | None) -> Path:
    """The directory of the model below the adapter: the one that the user names, else the one in the settings.

    Raises CheckpointError if it is not there.
    """
    fix = "--base DIR, a directory with the model's config.json and model.safetensors; nothing is fetched from a hub"
    if named is not None:
        if not (Path(named) / CONFIG_FILE).is_file():
            raise CheckpointError(f"--base {named} is no directory of a Hugging Face model", fix=fix)
        return Path(named)
    name = read_adapter(directory).base
    local = not name.startswith(("//", "\\\\"))  # which are computers of a network
    places = [Path(name), directory / name] if name and local and "\0" not in name else []
    found = next((place for place in places if (place / CONFIG_FILE).is_file()), None)
    if found is None:
        raise CheckpointError(
            f"{directory} is an adapter of the model {safe_excerpt(name)}, which is not on this machine", fix=fix
        )
    return found
