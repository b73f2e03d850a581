"""Snapshots of work that lies in parts on the ranks: vectors piece by piece, which any number of ranks can take up.

The file of the snapshot holds everything but the vectors, and names the directory in which they are. A new directory is
whole before the file names it, and the one before is deleted after that.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.session.unfinished import SnapshotWriter
from landscape.storage.array_files import save_arrays

if TYPE_CHECKING:
    from landscape.objective.sharded.objective import ShardedObjective

DIRECTORY, VECTORS = "parts", "vectors"  # among the texts of the file: the directory, and what is in it


@dataclass
class PartSnapshotWriter(SnapshotWriter):
    """Saves the state of a running measurement, which every rank has in part; all ranks call its methods."""

    def save_if_due(self, progress: Progress) -> None:
        """Saves a snapshot if the first rank has done enough work since the last one."""
        if self.objective.ranks.broadcast(self.is_due()):
            self.save(progress)

    def _write(self, progress: Progress, now: float) -> None:
        objective: ShardedObjective = self.objective  # type: ignore[assignment]
        ranks, state = objective.ranks, dict(progress.state())
        vectors = {name: state.pop(name) for name in [*state] if objective.holds_part(state[name])}
        rooms = {
            name: [list(array.shape[:-1]), [int(n) for n in state.pop(f"{name}.shape", [])[:-1]]]
            for name, array in vectors.items()
        }
        directory = ranks.first(self._next_directory)
        objective.save_vectors(vectors, directory)
        about = {**self.about(now), DIRECTORY: directory.name, VECTORS: json.dumps(rooms)}
        ranks.first(lambda: self._name(directory, state, about))

    def _next_directory(self) -> Path:
        """A directory that is not there yet."""
        return next(path for number in itertools.count(1) if not (path := _directory(self.path, number)).exists())

    def _name(self, directory: Path, state: State, about: Mapping[str, str]) -> None:
        """Writes the file, and deletes all other directories."""
        save_arrays(self.path, state, about)
        for other in _directories(self.path):
            if other != directory:
                shutil.rmtree(other, ignore_errors=True)


def add_pieces(objective: ShardedObjective, state: State, about: Mapping[str, str], path: Path) -> State:
    """The state of the snapshot `path` with this rank's parts of vectors; raises LandscapeError for damaged ones."""
    rooms: Mapping[str, tuple[list[int], list[int]]] = json.loads(about[VECTORS])
    shapes = {name: shape for name, (shape, _) in rooms.items()}
    vectors = objective.read_vectors(shapes, path.with_name(about[DIRECTORY]))
    buffers = {f"{name}.shape": np.array([*room, vectors[name].shape[-1]]) for name, (_, room) in rooms.items() if room}
    return {**state, **vectors, **buffers}


def delete_snapshot(path: Path) -> None:
    """Deletes a snapshot, if there is one, with the parts of vectors beside it."""
    path.unlink(missing_ok=True)
    for directory in _directories(path):
        shutil.rmtree(directory, ignore_errors=True)


def _directory(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name.removesuffix(path.suffix)}.parts-{number}{path.suffix}")


def _directories(path: Path) -> Iterator[Path]:
    """The directories of parts beside a snapshot."""
    pattern = f"{path.name.removesuffix(path.suffix)}.parts-*{path.suffix}"
    yield from (other for other in path.parent.glob(pattern) if other.is_dir())
