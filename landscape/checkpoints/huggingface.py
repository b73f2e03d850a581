"""Models that a Hugging Face directory describes, built by the transformers library and no code from the directory.

The library is given the settings and the tensors that were read and checked, never the directory; the hub is switched
off meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from landscape.checkpoints import huggingface_config
from landscape.checkpoints.huggingface_config import AUTO_MODELS, OWN_MODEL
from landscape.errors import CheckpointError, TaskError, listing

INSTALL = "pip install 'loss-landscape-geometry[hf]'"
TABLES = 1 << 28  # bytes of masks and positions that a model may have beside its weights
PARTS = 10  # modules for one tensor of a checkpoint: measured 1 to 4
MOST = 50_000  # modules where no weights tell how many there should be
FEWEST = 2000  # modules that any model may have


def build_with_weights(directory: Path, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, str]:
    """The model of a directory with these weights, and what is to be said of them.

    Raises CheckpointError for weights that do not fit; a config that describes a much larger model is refused before
    it is allocated.
    """
    config = huggingface_config.read_config(directory)
    huggingface_config.require_plausible(directory, config, len(tensors))
    with torch.device("meta"), _at_most(PARTS * len(tensors) + FEWEST):
        skeleton = _built(directory, config)
    wanted = sum(parameter.numel() for parameter in skeleton.parameters())
    held = sum(tensor.numel() for tensor in tensors.values())
    if wanted > 2 * held or sum(buffer.nbytes for buffer in skeleton.buffers()) > TABLES + 8 * held:
        raise _unfit(directory, f"{held:,} numbers for {wanted:,}")
    with _offline(), _blamed(directory, config):
        model, report = type(skeleton).from_pretrained(
            None,
            config=skeleton.config,
            state_dict=dict(tensors),
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    if report["missing_keys"]:
        raise _unfit(directory, f"missing {listing(sorted(report['missing_keys']))}")
    unexpected = sorted(report["unexpected_keys"])
    inside = [name for name in unexpected if name.startswith(f"{skeleton.base_model_prefix}.")]
    if inside:
        raise _unfit(directory, f"unexpected {listing(inside)}")
    note = f"not used by the model: {listing(unexpected)}" if unexpected else ""
    return model, note


def build_without_weights(directory: Path) -> nn.Module:
    """The model that a directory's config.json describes, with the weights of its making."""
    config = huggingface_config.read_config(directory)
    huggingface_config.require_plausible(directory, config, 0)
    with _at_most(MOST):
        model: nn.Module = _built(directory, config)
    return model


def _unfit(directory: Path, how: str) -> CheckpointError:
    return CheckpointError(
        f"{directory} does not hold the weights of its model {huggingface_config.architecture_name(directory)}: {how}",
        fix="save the model with save_pretrained, or " + OWN_MODEL,
    )


def _built(directory: Path, settings: Mapping[str, Any]) -> Any:
    named = settings["architectures"][0]
    builder = next(auto for ending, auto in AUTO_MODELS.items() if named.endswith(ending))
    with _offline() as transformers, _blamed(directory, settings):
        config = transformers.AutoConfig.for_model(**{"use_cache": False, **settings})
        config.use_cache = False
        return getattr(transformers, builder).from_config(config, attn_implementation="eager")


@contextmanager
def _at_most(modules: int) -> Iterator[None]:
    """Stops the making of a model that has no end: raises RuntimeError at the first module beyond so many."""
    left = modules

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError(f"a model of more than {modules:,} modules")

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _blamed(directory: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Raises CheckpointError for whatever the library says of settings that nobody vouches for."""
    try:
        yield
    except Exception as error:  # it may raise anything
        raise CheckpointError(
            f"transformers cannot build {settings['architectures'][0]} from {directory}: {type(error).__name__}: "
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
