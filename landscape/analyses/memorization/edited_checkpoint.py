"""From new weights of a model to a copy of the checkpoint that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape import checkpoints
from landscape.checkpoints import Checkpoint
from landscape.checkpoints.edits import undo as undoing
from landscape.checkpoints.edits import write as editing
from landscape.errors import CheckpointError, UsageError, listing
from landscape.network.wrappers import first_names
from landscape.objective import Objective
from landscape.storage import paths


def target(objective: Objective, output: Path) -> Path:
    """Where the edited checkpoint goes: beside the results, a directory for a directory."""
    return paths.edited_checkpoint(output, directory=_path(objective).is_dir())


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
    place = target(objective, output)
    if place.exists():
        objective.notes.append(f"replaced the earlier edit in {place}")
    changes = {file: torch.from_numpy(weights[name].copy()) for file, name in names.items() if name in weights}
    return editing.write(_path(objective), changes, place, weights=chosen, about=about)


def _path(objective: Objective) -> Path:
    if objective.source.path is None:
        raise UsageError("the objective comes from no checkpoint that could be edited", fix='landscape.load("ckpt.pt")')
    return objective.source.path


def _names(objective: Objective, checkpoint: Checkpoint) -> dict[str, str]:
    """The parameter's first name for each of the file's tensors that is one: tied ones have several."""
    first = first_names(objective.model)
    prefix = f"{getattr(objective.model, 'base_model_prefix', '')}."
    named = {file: first[name] for file in checkpoint.tensors for name in (file, prefix + file) if name in first}
    if not set(objective.space.names) <= set(named.values()):
        fitted, _ = checkpoints.fit(checkpoint.tensors, objective.model.state_dict(), str(checkpoint.path))
        places = {id(tensor): name for name, tensor in fitted.items()}
        named = {file: first[places[id(t)]] for file, t in checkpoint.tensors.items() if places.get(id(t)) in first}
    if missing := set(objective.space.names) - set(named.values()):
        raise CheckpointError(f"{checkpoint.path} has no tensors of its own for {listing(sorted(missing))}")
    return named
