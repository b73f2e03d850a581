"""Other checkpoints of the measured model: the end of a step or a line, or the points of a trajectory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape import checkpoints
from landscape.checkpoints.edits.digests import file_sha256
from landscape.checkpoints.edits.undo import digests_of_edits
from landscape.errors import CheckpointError, UsageError, listing
from landscape.network.batch_norm import statistic_names
from landscape.network.wrappers import first_names
from landscape.objective import Objective
from landscape.storage import paths


@dataclass(frozen=True)
class Trajectory:
    """The paths of the checkpoints of a run, in the order of the numbers in their names, and what was left out."""

    checkpoints: tuple[str, ...]
    left_out: tuple[str, ...] = ()  # names of files that landscape wrote

    @property
    def note(self) -> str:
        """A sentence that names the files left out; "" if there are none."""
        if not self.left_out:
            return ""
        return f"left out of the trajectory, since landscape wrote them: {listing(self.left_out)}"


@dataclass(frozen=True)
class OtherCheckpoint:
    """Another checkpoint's tensors under the model's names; `name` is its path, for messages."""

    name: str
    tensors: Mapping[str, Tensor]
    objective: Objective

    @cached_property
    def theta(self) -> Tensor:
        """Its parameters as a vector `(P,)`."""
        return self.objective.space.flatten(self.tensors).to(self.objective.theta)

    @property
    def digest(self) -> str:
        """A hash of the parameters and buffers, which decide a measurement."""
        digest = hashlib.sha256()
        names = [
            *self.objective.space.names,
            *(n for n, _ in self.objective.model.named_buffers() if n in self.tensors),
        ]
        for name in names:
            digest.update(self.tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]

    def statistics(self) -> dict[str, Tensor]:
        """Its running statistics of BatchNorm, on the objective's device and in its precision."""
        return {name: self.tensors[name].to(self.objective.theta) for name in statistic_names(self.objective.model)}

    def loss(self) -> float:
        """The mean loss with its own parameters and buffers."""
        names = set(first_names(self.objective.model).values()) & self.tensors.keys()
        state = {name: self.tensors[name].to(self.objective.device) for name in names}
        state |= {n: t.to(self.objective.dtype) for n, t in state.items() if t.is_floating_point()}
        with torch.no_grad():
            total = self.objective.accumulate(lambda batch: self.objective.batch_total(state, batch).double())
        return float(total) / self.objective.count

    def differing_tensors(self) -> list[str]:
        """The real tensors outside theta (buffers, fixed parameters) that differ from the measured model's, by name."""
        model, space = self.objective.model, self.objective.space
        named = dict([*model.named_buffers(), *model.named_parameters()])
        fixed = {n: t for n, t in named.items() if t.is_floating_point() and n not in space.names and n in self.tensors}
        return [name for name, t in fixed.items() if not torch.equal(t.cpu(), self.tensors[name].to(t).cpu())]


def other_checkpoint(objective: Objective, source: str | Mapping[str, Tensor], flag: str) -> OtherCheckpoint:
    """A checkpoint by its path, or a state dict; raises CheckpointError, which names the flag, if it does not fit."""
    conditions, choices = objective.source.conditions, dict[str, Any]()
    if isinstance(source, Mapping):
        tensors, name = source, "a state dict"
    else:
        name = source
        read = checkpoints.read(
            Path(name), weights=conditions.get("weights"), ignore=conditions.get("ignore_tensors", ())
        )
        tensors, choices = read.tensors, {"prefix": read.prefix, "unread": read.unread}
    try:
        fitted = checkpoints.fit(
            tensors,
            objective.model.state_dict(),
            name,
            "model that is measured",
            partial=bool(conditions.get("partial")),
            **choices,
        )[0]
    except CheckpointError as error:
        raise CheckpointError(error.what, why=error.why, fix=f"{flag} a checkpoint of the same model") from None
    loss = {n: t for n, t in objective.function.state(objective.theta).items() if objective.function.in_criterion(n)}
    return OtherCheckpoint(name, {**loss, **fitted}, objective)  # a loss's own parameters stay as they are


def find_trajectory(folder: str) -> Trajectory:
    """The checkpoints in a folder, as `checkpoints_in` finds them; raises UsageError for fewer than two."""
    if not Path(folder).is_dir():
        raise UsageError(f"--trajectory {folder} is not a folder", fix="a folder with the checkpoints of one run")
    found = checkpoints_in(folder)
    if len(found.checkpoints) < 2:
        raise UsageError(
            f"--trajectory {folder} holds {len(found.checkpoints)} checkpoints",
            why=found.note,
            fix=f"at least two files ({', '.join(paths.CHECKPOINTS)})",
        )
    return found


def checkpoints_in(folder: str) -> Trajectory:
    """The checkpoints in a folder; files that landscape wrote, and edited checkpoints, are left out."""
    entries = [entry for entry in Path(folder).iterdir() if not entry.name.startswith(".") and _holds_weights(entry)]
    written = _written_by_landscape(Path(folder), entries)
    return Trajectory(
        tuple(sorted((str(entry) for entry in entries if entry not in written), key=_natural)),
        tuple(sorted((entry.name for entry in written), key=_natural)),
    )


def _holds_weights(entry: Path) -> bool:
    """Whether a file or folder has the name of a checkpoint, or a folder the names of a checkpoint's files."""
    if entry.is_dir():
        return any(part.name.endswith(paths.CHECKPOINTS) or part.name == ".metadata" for part in entry.iterdir())
    return entry.name.endswith(paths.CHECKPOINTS)


def _written_by_landscape(folder: Path, entries: Sequence[Path]) -> set[Path]:
    """The entries that landscape wrote, of those that have the names of checkpoints."""
    found = {entry for entry in entries if paths.is_ours(entry) or _holds_only_ours(entry)}
    digests = digests_of_edits(folder)  # finds renamed edits of the versions that did not mark them
    return found | {one for one in entries if digests and one.is_file() and file_sha256(one) in digests}


def _holds_only_ours(entry: Path) -> bool:
    """Whether a folder holds files with the names of checkpoints, and landscape wrote all of them."""
    parts = [part for part in entry.iterdir() if part.name.endswith(paths.CHECKPOINTS)] if entry.is_dir() else []
    return bool(parts) and all(map(paths.is_ours, parts))


def _natural(name: str) -> list[tuple[int, str]]:
    """`step-2` before `step-10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
