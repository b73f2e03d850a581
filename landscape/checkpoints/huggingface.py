"""Models that a Hugging Face directory describes, built by the transformers library and no code from the directory.

Nothing is downloaded: the hub is switched off while a model is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape.checkpoints.configuration import KINDS, OWN_MODEL, architecture
from landscape.errors import CheckpointError, TaskError, listing

INSTALL = "pip install 'loss-landscape-geometry[hf]'"


def with_weights(directory: Path, numbers: int) -> nn.Module:
    """The model of a directory with its weights; raises CheckpointError for weights that do not fit.

    The weights have so many `numbers`; a config that describes a much larger model is refused before it is allocated.
    """
    with torch.device("meta"):
        wanted = sum(parameter.numel() for parameter in without_weights(directory).parameters())
    if wanted > 2 * numbers:
        raise CheckpointError(
            f"{directory} does not hold all weights of its model {architecture(directory)}: {numbers:,} numbers for "
            f"{wanted:,}",
            fix="save the model with save_pretrained, or " + OWN_MODEL,
        )
    model: nn.Module
    model, report = _built(directory, "from_pretrained", directory, use_safetensors=True, output_loading_info=True)
    missing = sorted(report["missing_keys"])  # of another shape they are an error of from_pretrained itself
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
        except Exception as error:  # on a config of which nothing is known the library may raise anything
            raise CheckpointError(
                f"transformers cannot build {named} from {directory}: {type(error).__name__}: "
                f"{str(error).partition(chr(10))[0]}",
                fix=f"update transformers, or {OWN_MODEL}",
            ) from error


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
