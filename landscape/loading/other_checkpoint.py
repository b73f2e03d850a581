"""Further checkpoints of a run: with the model, the data and the plan of the first one where these are theirs too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape import checkpoints
from landscape.conditions import Conditions
from landscape.errors import CheckpointError, UsageError
from landscape.loading.from_path import load, preconditioner_source
from landscape.objective import Objective, ObjectiveSource


@dataclass
class CheckpointLoader:
    """Loads the checkpoints of one run, one after the other.

    Model, data and loss are found and checked for the first checkpoint; of those after it the tensors alone are read,
    as long as they fit the model, and describe the same task. Others are loaded as if they were the first.
    """

    conditions: Conditions
    origins: Mapping[str, str] | None = None
    folder: Path | None = None
    _first: Objective | None = None
    _description: tuple[Any, Mapping[str, Tensor]] = (None, {})

    def load(self, path: Path) -> Objective:
        """The objective of a checkpoint; raises as `landscape.load`."""
        again = None if self._first is None else self._at(self._first, path)
        if again is not None:
            return again
        self._first = load(path, self.conditions, origins=self.origins, folder=self.folder)
        self._description = _description(self._read(path)) if self._may_be_moved() else (None, {})
        return self._first

    def _at(self, first: Objective, path: Path) -> Objective | None:
        """The first objective at another checkpoint; None if that is of another model, or describes another task."""
        if not self._may_be_moved():
            return None
        checkpoint = self._read(path)
        if not _same_description(_description(checkpoint), self._description):
            return None
        parameters = dict(first.model.named_parameters())
        source = ObjectiveSource(
            checkpoint.path,
            checkpoint.sha256,
            asdict(self.conditions),
            first.source.resolved_from,
            first.source.notes,
            checkpoint.groups,
        )
        preconditioner = preconditioner_source(str(path), checkpoint, self.conditions, parameters)
        try:
            return first.at(checkpoint.tensors, preconditioner=preconditioner, source=source)
        except (CheckpointError, UsageError):  # names of another version of the modules, adapters, another model
            return None

    def _may_be_moved(self) -> bool:
        """Whether the conditions leave a checkpoint's weights to its tensors alone."""
        return not (self.conditions.partial or self.conditions.base or self.conditions.trust)

    def _read(self, path: Path) -> checkpoints.Checkpoint:
        return checkpoints.read(path, weights=self.conditions.weights, ignore=self.conditions.ignore_tensors)


def _description(checkpoint: checkpoints.Checkpoint) -> tuple[Any, Mapping[str, Tensor]]:
    """What a checkpoint says of its task, data in the file included."""
    spec = checkpoint.spec  # without free facts, such as the step
    return None if spec is None else replace(spec, about={}), checkpoint.extras


def _same_description(one: tuple[Any, Mapping[str, Tensor]], other: tuple[Any, Mapping[str, Tensor]]) -> bool:
    first, second = one[1], other[1]
    return (
        one[0] == other[0]
        and first.keys() == second.keys()
        and all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    )
