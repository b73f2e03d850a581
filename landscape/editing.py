"""From new weights of a model to a copy of the checkpoint that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape import checkpoints, store
from landscape.checkpoints import Checkpoint, editing, undoing
from landscape.errors import CheckpointError, UsageError
from landscape.objective import Objective

EDITED = "edited"  # in the names of what is written


def target(objective: Objective, output: Path) -> Path:
    """Where the edited checkpoint goes: beside the results, a directory for a directory."""
    path = _path(objective)
    stem = store.stem(output)
    return output.with_name(f"{stem}.{EDITED}" if path.is_dir() else f"{stem}.{EDITED}.safetensors")


def require_room(objective: Objective, output: Path) -> None:
    """Raises UsageError if there is something at the target that no earlier edit wrote."""
    place = target(objective, output)
    if place.exists() and not undoing.fits(place):
        raise UsageError(f"{place} exists, and is not what an earlier edit wrote", fix="write elsewhere with -o FILE")


def write(
    objective: Objective, weights: Mapping[str, np.ndarray], output: Path, about: Mapping[str, Any]
) -> list[Path]:
    """The checkpoint with new values of the named parameters, and its undo file; returns what was written.

    `weights` are float64 in the parameters' shapes, and are cast once to what the file stores.
    """
    chosen = objective.source.conditions.get("weights")
    checkpoint = checkpoints.read(_path(objective), weights=chosen)
    names = _names(objective, checkpoint)
    changes = {names[name]: torch.from_numpy(value.copy()) for name, value in weights.items()}
    return editing.write(_path(objective), changes, target(objective, output), weights=chosen, about=about)


def _path(objective: Objective) -> Path:
    if objective.source.path is None:
        raise UsageError("the objective comes from no checkpoint that could be edited", fix='landscape.load("ckpt.pt")')
    return objective.source.path


def _names(objective: Objective, checkpoint: Checkpoint) -> dict[str, str]:
    """The file's name for each of the model's parameters."""
    state = objective.model.state_dict()
    prefix = getattr(objective.model, "base_model_prefix", "")
    if prefix and not checkpoint.tensors.keys() >= set(objective.space.names):  # transformers adds or strips it
        shorter = {name: name.removeprefix(f"{prefix}.") for name in objective.space.names}
        if set(shorter.values()) <= checkpoint.tensors.keys():
            return shorter
    if checkpoint.tensors.keys() >= set(objective.space.names):
        return {name: name for name in objective.space.names}
    fitted, _ = checkpoints.fit(checkpoint.tensors, state, str(checkpoint.path))
    own = {id(tensor): name for name, tensor in checkpoint.tensors.items()}
    missing = [name for name in objective.space.names if id(fitted.get(name)) not in own]
    if missing:
        raise CheckpointError(f"{checkpoint.path} has no tensors of its own for {', '.join(missing)}")
    return {name: own[id(fitted[name])] for name in objective.space.names}
