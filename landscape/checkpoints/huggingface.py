"""Models that a Hugging Face directory describes, built by the transformers library and no code from the directory.

The library gets the settings and the tensors that were read and checked, never the directory. The hub is switched off
while it works.
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
MAX_TABLE_BYTES = 1 << 28  # of masks and positions that a model may have beside its weights
MODULES_PER_TENSOR = 10  # the most modules for one tensor of a checkpoint: 1 to 4 were measured
MIN_MODULES = 2000  # modules that every model may have
MAX_MODULES = 50_000  # modules of a model without weights, whose tensors cannot bound them


def build_with_weights(directory: Path, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, str]:
    """Builds the model of a directory with these weights; returns it with a note on unused weights ("" without any).

    Raises CheckpointError for weights that do not fit; a config of a much larger model is refused before any memory is
    allocated for it.
    """
    config = huggingface_config.read_config(directory)
    huggingface_config.require_plausible(directory, config, len(tensors))
    with torch.device("meta"), _at_most(MODULES_PER_TENSOR * len(tensors) + MIN_MODULES):
        skeleton = _build(directory, config)
    expected = sum(parameter.numel() for parameter in skeleton.parameters())
    given = sum(tensor.numel() for tensor in tensors.values())
    if expected > 2 * given or sum(buffer.nbytes for buffer in skeleton.buffers()) > MAX_TABLE_BYTES + 8 * given:
        raise _unfit(directory, f"{given:,} numbers for {expected:,}")
    with _offline(), _reraising_errors(directory, config):
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
    """Builds the model that a directory's config.json describes, with the initial weights that transformers draws."""
    config = huggingface_config.read_config(directory)
    huggingface_config.require_plausible(directory, config, 0)
    with _at_most(MAX_MODULES):
        model: nn.Module = _build(directory, config)
    return model


def _unfit(directory: Path, how: str) -> CheckpointError:
    return CheckpointError(
        f"{directory} does not hold the weights of its model {huggingface_config.architecture_name(directory)}: {how}",
        fix="save the model with save_pretrained, or " + OWN_MODEL,
    )


def _build(directory: Path, settings: Mapping[str, Any]) -> Any:
    named = settings["architectures"][0]
    builder = next(auto for ending, auto in AUTO_MODELS.items() if named.endswith(ending))
    with _offline() as transformers, _reraising_errors(directory, settings):
        config = transformers.AutoConfig.for_model(**{"use_cache": False, **settings})
        config.use_cache = False
        return getattr(transformers, builder).from_config(config, attn_implementation="eager")


@contextmanager
def _at_most(modules: int) -> Iterator[None]:
    """Raises RuntimeError in the block when more modules than this are made: a config may ask for any number."""
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
def _reraising_errors(directory: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Raises CheckpointError for any exception in the block, where transformers follows settings from a file."""
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
    """The transformers library, quiet and with its hub switched off; raises TaskError if it is not installed."""
    try:
        import transformers
        from huggingface_hub import constants
    except ImportError as error:
        raise TaskError(f"a Hugging Face model needs the transformers library: {error}", fix=INSTALL) from error
    logging = transformers.utils.logging
    level, offline, bars = logging.get_verbosity(), constants.HF_HUB_OFFLINE, logging.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield transformers
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
