"""Writes a copy of the checkpoint with the new weights of an edit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape import checkpoints
from landscape.checkpoints import Checkpoint
from landscape.checkpoints.edits.undo import is_unaltered_edit
from landscape.checkpoints.edits.write import require_editable, write_edit
from landscape.errors import CheckpointError, UsageError, listing
from landscape.evaluation.layers.on_demand import OnDemand
from landscape.network.wrappers import first_names
from landscape.objective import Objective
from landscape.storage import paths


def target(objective: Objective, output: Path) -> Path:
    """The path of the edited checkpoint, next to the results file `output`: a directory if the original is one."""
    return paths.edited_checkpoint(output, directory=_source(objective).is_dir())


def check_target(objective: Objective, output: Path) -> None:
    """Raises UsageError if the checkpoint cannot be edited, or the target exists and is no earlier edit's result."""
    require_editable(_source(objective))
    path = target(objective, output)
    if path.exists() and not is_unaltered_edit(path):
        raise UsageError(f"{path} exists, and is not what an earlier edit wrote", fix="write elsewhere with -o FILE")


def write(
    objective: Objective, weights: Mapping[str, np.ndarray], output: Path, about: Mapping[str, Any]
) -> list[Path]:
    """Writes the checkpoint with new values of the named parameters, and its undo file; returns both paths.

    `weights` are float64 in the shapes of the parameters, and are cast once, to the dtype in the file. `about` is
    stored in the undo file. Raises CheckpointError if the file holds a parameter only as part of another tensor.
    """
    weight_set = objective.source.conditions.get("weights")
    checkpoint = checkpoints.read(
        _source(objective), weights=weight_set, ignore=objective.source.conditions.get("ignore_tensors", ())
    )
    names = _parameter_names(objective, checkpoint)
    # one tensor after another, as they are cast
    changes = OnDemand(
        (stored for stored, name in names.items() if name in weights),
        lambda stored: torch.from_numpy(np.array(weights[names[stored]])),
    )
    return write_edit(_source(objective), changes, target(objective, output), weights=weight_set, about=about)


def _source(objective: Objective) -> Path:
    """The path of the original checkpoint."""
    if objective.source.path is None:
        raise UsageError("the objective comes from no checkpoint that could be edited", fix='landscape.load("ckpt.pt")')
    return objective.source.path


def _parameter_names(objective: Objective, checkpoint: Checkpoint) -> dict[str, str]:
    """For each tensor in the file that is a parameter, the parameter's first name; tied parameters have several."""
    first = first_names(objective.model)
    prefix = f"{getattr(objective.model, 'base_model_prefix', '')}."
    names = {
        stored: first[name] for stored in checkpoint.tensors for name in (stored, prefix + stored) if name in first
    }
    if not set(objective.space.names) <= set(names.values()):
        partial = bool(objective.source.conditions.get("partial"))
        fitted, _ = checkpoints.fit(
            checkpoint.tensors,
            objective.model.state_dict(),
            str(checkpoint.path),
            prefix=checkpoint.prefix,
            partial=partial,
        )
        own_names = {id(tensor): name for name, tensor in fitted.items()}
        by_tensor = {stored: own_names.get(id(tensor), "") for stored, tensor in checkpoint.tensors.items()}
        names = {stored: first[name] for stored, name in by_tensor.items() if name in first}
    if missing := set(objective.space.names) - set(names.values()):
        raise CheckpointError(
            f"{checkpoint.path} has no tensors of its own for {listing(sorted(missing))}",
            fix="a checkpoint in which they are stored",
        )
    return names
