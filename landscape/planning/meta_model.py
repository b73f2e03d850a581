"""A model on the meta device: from a Hugging Face config.json, or from a factory of the user's."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from landscape.checkpoints import huggingface
from landscape.checkpoints.formats.directories import CONFIG_FILE
from landscape.conditions import HUGGING_FACE, Conditions
from landscape.errors import TaskError, UsageError
from landscape.tasks.factories import ObjectName, parse_arguments


def build_on_meta(path: Path, conditions: Conditions) -> nn.Module:
    """The model that --model names, or that the config.json in a directory describes, without any weights.

    Raises UsageError for a path without a configuration, and TaskError for a factory that does not build on the meta
    device.
    """
    named = conditions.model
    if named is None or named.startswith(HUGGING_FACE):
        directory = Path(named.removeprefix(HUGGING_FACE)) if named else path
        directory = directory.parent if directory.name == CONFIG_FILE else directory
        if not (directory / CONFIG_FILE).is_file():
            raise UsageError(
                f"{directory} has no {CONFIG_FILE} that describes a model",
                fix="a Hugging Face directory, or --model FILE.py:factory with --data",
            )
        with torch.device("meta"):
            return huggingface.build_without_weights(directory)
    arguments = parse_arguments("--model-arg", conditions.model_arg, {})
    factory = ObjectName("model", named, by_user=True, trusted=conditions.trusted_modules).factory(arguments)
    with torch.device("meta"):
        model = factory()
    if not isinstance(model, nn.Module):
        raise TaskError(f"model {named} gave a {type(model).__name__}, not a torch.nn.Module", fix="return the module")
    if any(not parameter.is_meta for parameter in model.parameters()):
        raise TaskError(
            f"model {named} cannot be built on torch's meta device",
            why="it reads weights, or names the device of its tensors",
            fix="--dry-run without --on, or a factory that lets torch.device decide",
        )
    return model
