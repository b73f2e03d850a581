"""Models that a Hugging Face directory describes, built by the transformers library and no code from the directory.

Nothing is downloaded: the hub is switched off while a model is built.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from landscape.checkpoints import sniff
from landscape.errors import CheckpointError, TaskError, listing

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
INSTALL = "pip install 'loss-landscape-geometry[hf]'"
OWN_MODEL = "build the model yourself: --model pkg.mod:factory"
LARGEST_CONFIG = 1 << 24  # bytes: a list of labels may be long
DEEPEST = 50  # levels of a config


def architecture(directory: Path) -> str:
    """The architecture that config.json names; raises CheckpointError for a config that is no plain description."""
    config = _config(directory)
    named = config.get("architectures")
    if not (isinstance(named, list) and len(named) == 1 and isinstance(named[0], str)):
        raise CheckpointError(f"{directory / sniff.CONFIG} names no architecture", fix=OWN_MODEL)
    if not named[0].endswith(tuple(KINDS)):
        raise CheckpointError(
            f"{directory / sniff.CONFIG} names the architecture {named[0]}, which has no loss that is known here",
            why=f"known are {listing(KINDS, 8)}",
            fix=OWN_MODEL,
        )
    return named[0]


def with_weights(directory: Path) -> nn.Module:
    """The model of a directory with its weights; raises CheckpointError for weights that do not fit."""
    model: nn.Module
    model, report = _built(directory, "from_pretrained", directory, use_safetensors=True, output_loading_info=True)
    missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
    if missing:
        raise CheckpointError(
            f"{directory} does not hold all weights of its model {architecture(directory)}: missing {listing(missing)}",
            fix="save the model with save_pretrained, or " + OWN_MODEL,
        )
    return model


def without_weights(directory: Path) -> nn.Module:
    """The model that a directory's config.json describes, with the weights of its making."""
    model: nn.Module = _built(directory, "from_config", None)
    return model


def _built(directory: Path, method: str, source: Path | None, **options: Any) -> Any:
    named = architecture(directory)
    builder = next(auto for ending, auto in KINDS.items() if named.endswith(ending))
    with _offline() as transformers:
        try:
            config = transformers.AutoConfig.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False, use_cache=False
            )
            if source:
                options |= {"local_files_only": True, "config": config}
            make = getattr(getattr(transformers, builder), method)
            return make(source or config, trust_remote_code=False, attn_implementation="eager", **options)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError) as error:
            raise CheckpointError(
                f"transformers cannot build {named} from {directory}: {type(error).__name__}: "
                f"{str(error).partition(chr(10))[0]}",
                fix=f"update transformers, or {OWN_MODEL}",
            ) from error


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


@contextmanager
def _offline() -> Iterator[Any]:
    """The transformers library, quiet and without its hub; raises TaskError if it is not installed."""
    try:
        import transformers
        from huggingface_hub import constants
    except ImportError as error:
        raise TaskError(f"a Hugging Face model needs the transformers library: {error}", fix=INSTALL) from error
    words = transformers.utils.logging
    level, offline, bars = words.get_verbosity(), constants.HF_HUB_OFFLINE, words.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    words.set_verbosity_error()
    words.disable_progress_bar()
    try:
        yield transformers
    finally:
        constants.HF_HUB_OFFLINE = offline
        words.set_verbosity(level)
        if bars:
            words.enable_progress_bar()
