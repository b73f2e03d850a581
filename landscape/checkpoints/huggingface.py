"""Models that a Hugging Face directory describes, built by the transformers library and no code from the directory.

The library gets the settings and the tensors that were read and checked, never the directory. The hub is switched off
while it works.
"""

from __future__ import annotations

import copy
import sys
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
from landscape.plugins.optional import import_optional, import_problem, is_import_problem

INSTALL = "pip install 'loss-landscape-geometry[hf]'"
KERNELS = {
    "attn_implementation": "eager",
    "experts_implementation": "eager",
}  # that have second derivatives, in float64
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
    skeleton = _build_skeleton(directory, config, tensors)
    with _reraising_errors(directory, config):
        model, report = _fill(type(skeleton), skeleton.config, tensors, KERNELS)
    if report["missing_keys"]:
        raise _unfit(directory, f"missing {listing(sorted(report['missing_keys']))}")
    unexpected = sorted(report["unexpected_keys"])
    inside = [name for name in unexpected if name.startswith(f"{skeleton.base_model_prefix}.")]
    if inside:
        raise _unfit(directory, f"unexpected {listing(inside)}")
    fixed = sorted(name for name, parameter in skeleton.named_parameters() if not parameter.requires_grad)
    for name in fixed:  # from_pretrained lets go of what the class fixes, e.g. tables of sines
        model.get_parameter(name).requires_grad_(False)
    notes = {"not used by the model": unexpected, "fixed by the model's class": fixed}
    return model, "; ".join(f"{words}: {listing(names)}" for words, names in notes.items() if names)


def build_plausible(directory: Path, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Builds the model of a directory with the weights that its class begins with, if these tensors may be its own."""
    config = huggingface_config.read_config(directory)
    _build_skeleton(directory, config, tensors)
    model: nn.Module = _build(directory, config)
    return model


def _build_skeleton(directory: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """The model on the meta device; raises CheckpointError if it is much larger than its tensors."""
    huggingface_config.require_plausible(directory, config, len(tensors))
    with torch.device("meta"), _at_most(MODULES_PER_TENSOR * len(tensors) + MIN_MODULES):
        skeleton = _build(directory, config)
    expected = sum(parameter.numel() for parameter in skeleton.parameters())
    given = sum(tensor.numel() for tensor in tensors.values())
    if expected > 2 * given or sum(buffer.nbytes for buffer in skeleton.buffers()) > MAX_TABLE_BYTES + 8 * given:
        raise _unfit(directory, f"{given:,} numbers for {expected:,}")
    return skeleton


def under_module_names(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors of a directory under the names that the model itself has for them.

    `save_pretrained` writes some families under other names than their modules have, in other shapes too; transformers
    converts them. None if the model is not one of transformers', or the tensors are not exactly its own.
    """
    transformers = sys.modules.get("transformers")
    if transformers is None or not isinstance(model, transformers.PreTrainedModel):
        return None
    try:
        filled, report = _fill(type(model), model.config, tensors, {})
    except Exception:  # the model is the user's own class, and may raise anything
        return None
    left_out = report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]
    return None if left_out else filled.state_dict()


def _fill(kind: Any, config: Any, tensors: Mapping[str, Tensor], kernels: Mapping[str, str]) -> tuple[nn.Module, Any]:
    """A model of this class with these weights, and transformers' report on names that are left over."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors.values())
    with _offline():
        model, report = kind.from_pretrained(
            None,
            config=copy.deepcopy(config),
            state_dict=dict(tensors),
            dtype=torch.float64 if wide else torch.float32,
            output_loading_info=True,
            **kernels,
        )
    return model, report


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
    builders = next(autos for ending, autos in AUTO_MODELS.items() if named.endswith(ending))
    with _offline() as transformers, _reraising_errors(directory, settings):
        config = transformers.AutoConfig.for_model(**{"use_cache": False, **settings})
        config.use_cache = False
        autos = [getattr(transformers, builder) for builder in builders]
        builder = next((auto for auto in autos if type(config) in auto._model_mapping), autos[0])
        return builder.from_config(config, **KERNELS)


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
        built = f"transformers cannot build {settings['architectures'][0]} from {directory}"
        if is_import_problem(error):  # it imports its parts when they are used
            problem = import_problem(error, "transformers", INSTALL)
            raise CheckpointError(f"{built}: a part of it {problem.what}", fix=problem.fix) from error
        raise CheckpointError(
            f"{built}: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
            fix=f"update transformers, or {OWN_MODEL}",
        ) from error


@contextmanager
def _offline() -> Iterator[Any]:
    """The transformers library, quiet and with its hub switched off; raises TaskError if it is not installed."""
    transformers = import_optional("transformers", "a Hugging Face model", INSTALL, TaskError)
    constants = import_optional("huggingface_hub.constants", "a Hugging Face model", INSTALL, TaskError)
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
