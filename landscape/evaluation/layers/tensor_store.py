"""Tensors by name that may be more than memory holds: the first of them in memory, the others in a file."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from landscape.compute.budget import room
from landscape.compute.freed_memory import return_freed_memory
from landscape.errors import OutputError
from landscape.objective import Objective
from landscape.storage.stored_array import StoredArray

HELD_BYTES = 16 << 20  # of a small model's store: reading and writing less than this costs more than it saves
MODEL_SHARE = 8  # on the CPU a store holds at most an eighth of what theta takes: the file lies in free memory anyway
LARGE_BYTES = 1 << 20  # of a tensor whose memory, once freed, is worth the millisecond in which it is given back
STORES = 2  # that share the room of the state: sums, and decompositions


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in the file, and its form."""

    begin: int
    like: Tensor  # of no entries: dtype and device
    shape: torch.Size
    nbytes: int


class TensorStore(MutableMapping[str, Tensor]):
    """Tensors by name: those that come first in memory, up to `limit` bytes, the others in a file in `folder`.

    A tensor in memory is returned as it is, one in the file is read anew at each access: whoever changes it puts it
    again. The file has no name, and is gone with the store. Raises OutputError if it cannot be written.
    """

    def __init__(self, limit: float, folder: Path | None = None) -> None:
        self.limit = limit
        self.folder = folder if folder is not None and _is_writable(folder) else Path(tempfile.gettempdir())
        self._held: dict[str, Tensor] = {}
        self._places: dict[str, _Place] = {}
        self._file: IO[bytes] | None = None
        self._end = 0

    @classmethod
    def beside(cls, objective: Objective) -> TensorStore:
        """A store that holds in memory what its share allows, with its file beside the objective's checkpoint."""
        path = objective.source.path
        return cls(store_limit(objective), None if path is None else path.parent)

    @property
    def held_bytes(self) -> int:
        """The bytes of the tensors in memory."""
        return sum(tensor.nbytes for tensor in self._held.values())

    @property
    def file_bytes(self) -> int:
        """The bytes of the file."""
        return self._end

    def recall(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of that name, which `make` computes once."""
        if name not in self:
            self[name] = make()
        return self[name]

    def release(self) -> None:
        """Moves all tensors from memory into the file."""
        for name in list(self._held):
            self._write(name, self._held.pop(name))

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of the tensors in memory, and `StoredArray`s of those in the file, which show later changes."""
        return {name: self._array(name) for name in self}

    def __getitem__(self, name: str) -> Tensor:
        if name in self._held:
            return self._held[name]
        place = self._places[name]
        return torch.from_numpy(self._read(place)).to(place.like.device)

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        self._held.pop(name, None)
        if name not in self._places and self.held_bytes + tensor.nbytes <= self.limit:
            self._held[name] = tensor
        else:
            self._write(name, tensor)

    def __delitem__(self, name: str) -> None:
        if self._held.pop(name, None) is None:
            del self._places[name]

    def __iter__(self) -> Iterator[str]:
        yield from (*self._held, *self._places)

    def __len__(self) -> int:
        return len(self._held) + len(self._places)

    def _array(self, name: str) -> np.ndarray:
        if name in self._held:
            return self._held[name].cpu().numpy().copy()
        place = self._places[name]
        form = place.like.cpu().numpy().dtype
        return StoredArray(form, tuple(place.shape), partial(self._read, place))  # type: ignore[return-value]

    def _read(self, place: _Place) -> np.ndarray:
        if place.nbytes >= LARGE_BYTES:
            return_freed_memory()  # of the work on others
        array = np.empty(tuple(place.shape), place.like.cpu().numpy().dtype)
        file = self._open()
        file.seek(place.begin)
        if file.readinto(array.reshape(-1).view(np.uint8).data) != place.nbytes:  # type: ignore[attr-defined]
            raise OutputError(f"a file of landscape's own in {self.folder} is cut off", fix="measure again")
        return array

    def _write(self, name: str, tensor: Tensor) -> None:
        place = self._places.get(name)
        if place is None or (place.nbytes, place.shape) != (tensor.nbytes, tensor.shape):
            place = _Place(self._end, tensor.new_empty(0), tensor.shape, tensor.nbytes)
        content = tensor.detach().cpu().contiguous().numpy().reshape(-1).view(np.uint8).data
        try:
            file = self._open()
            file.seek(place.begin)
            file.write(content)
            file.flush()
        except OSError as error:
            free = shutil.disk_usage(self.folder).free
            raise OutputError(
                f"the factors of the layers do not fit on the disk: {self._end / 1e9:,.2f} GB are written, "
                f"{free / 1e9:,.2f} GB are free in {self.folder}",
                why=error.strerror or "",
                fix="free some space there, or fewer layers: --layers GLOB",
            ) from error
        self._places[name] = place
        self._end = max(self._end, place.begin + place.nbytes)
        if place.nbytes >= LARGE_BYTES:
            return_freed_memory()  # of the work on it

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 (open as long as the store is)
            weakref.finalize(self, self._file.close)
        return self._file


def store_limit(objective: Objective) -> float:
    """The bytes that a store may hold in memory beside the objective."""
    share = room("state", objective.device) / STORES
    if objective.device.type != "cpu":
        return share
    return min(share, max(HELD_BYTES, objective.theta.nbytes / MODEL_SHARE))


def _is_writable(folder: Path) -> bool:
    """Whether a file without a name can be made in the folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
