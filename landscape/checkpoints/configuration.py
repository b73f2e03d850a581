"""The config.json of a Hugging Face directory: which model it describes, as data. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landscape.checkpoints import sniff
from landscape.errors import CheckpointError, listing, shown

KINDS = {
    "ForCausalLM": "AutoModelForCausalLM",
    "LMHeadModel": "AutoModelForCausalLM",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForImageClassification": "AutoModelForImageClassification",
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForTokenClassification": "AutoModelForTokenClassification",
}  # transformers' builders by the ending of an architecture's name
HOSTILE = ("auto_map", "quantization_config", "transformers_weights", "custom_pipelines")
KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
OWN_MODEL = "build the model yourself: --model pkg.mod:factory"
LARGEST_CONFIG = 1 << 24  # bytes: a list of labels may be long
FEWEST = 1000  # whatever a setting with "layer" in its name may count
DEEPEST = 50  # levels of a config


def architecture(directory: Path) -> str:
    """The architecture that config.json names; raises CheckpointError for a config that is no plain description."""
    config = _config(directory)
    named = config.get("architectures")
    if not (isinstance(named, list) and len(named) == 1 and isinstance(named[0], str) and named[0].isidentifier()):
        timm = config.get("architecture")
        if isinstance(timm, str) and timm.isidentifier():
            raise CheckpointError(
                f"{directory / sniff.CONFIG} describes a model of timm: {timm}",
                fix=f"--model model.py:build, a function that returns timm.create_model({timm!r}, num_classes=...)",
            )
        raise CheckpointError(f"{directory / sniff.CONFIG} names no architecture", fix=OWN_MODEL)
    if not named[0].endswith(tuple(KINDS)):
        raise CheckpointError(
            f"{directory / sniff.CONFIG} names the architecture {named[0]}, which has no loss that is known here",
            why=f"known are {listing(KINDS, 8)}",
            fix=OWN_MODEL,
        )
    return named[0]


def require_plausible(directory: Path, tensors: int) -> None:
    """Raises CheckpointError if the config describes more layers than there are tensors: building them has no end."""
    for key, value in _entries(_config(directory)):
        if "layer" in key and isinstance(value, int) and value > max(tensors, FEWEST):
            raise CheckpointError(
                f"{directory / sniff.CONFIG} asks for {key} = {shown(value)}, and there are {tensors} tensors",
                fix=OWN_MODEL,
            )


def _config(directory: Path) -> Mapping[str, Any]:
    path = directory / sniff.CONFIG
    if not path.is_file():
        raise CheckpointError(f"{directory} has no {sniff.CONFIG}", fix="a directory written by save_pretrained")
    if path.stat().st_size > LARGEST_CONFIG:
        raise CheckpointError(f"{path} is absurdly large", fix=OWN_MODEL)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}", fix="download it again") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is no table of settings", fix="download it again")
    for key, value in _entries(config):
        kernel = key in KERNELS and isinstance(value, str) and "/" in value
        if value is not None and (key in HOSTILE or kernel):
            raise CheckpointError(
                f"{path} asks for {key} = {json.dumps(value)[:80]}",
                why="that would run or fetch what is not in transformers itself, or change the weights",
                fix=f"if you trust it, {OWN_MODEL}",
            )
    if (directory / "adapter_config.json").exists():
        raise CheckpointError(
            f"{directory} holds a PEFT adapter beside its model",
            fix="merge it once: model.merge_and_unload().save_pretrained(DIR), then landscape eig DIR",
        )
    return config


def _entries(config: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every key with its value, in tables of tables too."""
    if depth > DEEPEST:
        return
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        yield str(key), value
        if isinstance(value, dict | list):
            yield from _entries(value, depth + 1)
