"""Snapshots of work that lies in parts on the ranks: vectors piece by piece, which any number of ranks can take up.

The file of the snapshot holds everything but the vectors, and names the directory in which torch.distributed.checkpoint
has written them. A new directory is whole before the file names it, and the one before is deleted after that.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.errors import OutputError
from landscape.session.unfinished import SnapshotWriter
from landscape.storage.array_files import save_arrays

if TYPE_CHECKING:
    from landscape.compute.shards import Shards
    from landscape.objective.sharded.objective import ShardedObjective

DIRECTORY, VECTORS = "parts", "vectors"  # among the texts of the file: the directory, and what is in it
PIECE = "{name}/{row}/{piece}"  # a piece of one vector, as a tensor of the directory


@dataclass
class PartSnapshotWriter(SnapshotWriter):
    """Saves the state of a running measurement, which every rank has in part; all ranks call its methods."""

    def save_if_due(self, progress: Progress) -> None:
        """Saves a snapshot if the first rank has done enough work since the last one."""
        if self.objective.ranks.broadcast(self.is_due()):
            self.save(progress)

    def _write(self, progress: Progress, now: float) -> None:
        objective: ShardedObjective = self.objective  # type: ignore[assignment]
        ranks, shards, state = objective.ranks, objective.shards, dict(progress.state())
        vectors = {name: state.pop(name) for name in [*state] if _is_in_parts(state[name], shards)}
        rooms = {
            name: [list(array.shape[:-1]), [int(n) for n in state.pop(f"{name}.shape", [])[:-1]]]
            for name, array in vectors.items()
        }
        directory = ranks.first(self._next_directory)
        _save_pieces(vectors, shards, directory)
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
    """The state of the snapshot `path` with this rank's parts of vectors; raises OutputError if they cannot be read."""
    import torch

    from landscape.checkpoints.formats.detection import describe
    from landscape.checkpoints.reading import fetch_tensors

    shards, found = objective.shards, dict(state)
    rooms: Mapping[str, tuple[list[int], list[int]]] = json.loads(about[VECTORS])
    if not rooms:
        return found
    contents = describe(path.with_name(about[DIRECTORY]))
    tree: Any = contents.tree
    for name, (shape, room) in rooms.items():
        vectors = torch.empty((*shape, shards.length), dtype=objective.dtype).numpy()
        for key, piece in _pieces(name, vectors, shards):
            piece[:] = fetch_tensors(contents, {key: tree[key]})[key].numpy()
        found[name] = vectors
        if room:
            found[f"{name}.shape"] = np.array([*room, shards.length])
    return found


def delete_snapshot(path: Path) -> None:
    """Deletes a snapshot, if there is one, with the parts of vectors beside it."""
    path.unlink(missing_ok=True)
    for directory in _directories(path):
        shutil.rmtree(directory, ignore_errors=True)


def _is_in_parts(array: np.ndarray, shards: Shards) -> bool:
    return array.ndim > 0 and array.dtype.kind == "f" and array.shape[-1] == shards.length


def _directory(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name.removesuffix(path.suffix)}.parts-{number}{path.suffix}")


def _directories(path: Path) -> Iterator[Path]:
    """The directories of parts beside a snapshot."""
    pattern = f"{path.name.removesuffix(path.suffix)}.parts-*{path.suffix}"
    yield from (other for other in path.parent.glob(pattern) if other.is_dir())


def _pieces(name: str, vectors: np.ndarray, shards: Shards) -> Iterator[tuple[str, np.ndarray]]:
    """Views of this rank's pieces of vectors `(..., length)`, each with its name in the directory."""
    for row, vector in enumerate(vectors.reshape(-1, shards.held, shards.width)):
        for number, piece in enumerate(vector, start=shards.first):
            yield PIECE.format(name=name, row=row, piece=number), piece


def _save_pieces(vectors: Mapping[str, np.ndarray], shards: Shards, directory: Path) -> None:
    """Writes this rank's pieces of vectors, with those of the others; raises OutputError where that fails."""
    import torch
    from torch.distributed.checkpoint.state_dict_saver import save

    # a tensor of NumPy's memory has a storage that ends with it: torch copies others, and keeps all copies to the end
    pieces = {
        key: torch.from_numpy(piece) for name, array in vectors.items() for key, piece in _pieces(name, array, shards)
    }
    try:
        with catch_warnings(), redirect_stdout(StringIO()):
            simplefilter("ignore")
            save(pieces, checkpoint_id=directory, no_dist=shards.ranks.size == 1)
    except Exception as error:  # torch raises an exception that holds those of all ranks
        with suppress(OSError):
            shutil.rmtree(directory, ignore_errors=True)
        raise OutputError(f"cannot write the parts of vectors in {directory}: {str(error).splitlines()[0]}") from error
