"""What `torch.save` writes, as zip or in the old format, described without torch and without calling anything."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.checkpoints.formats import archive
from landscape.checkpoints.formats.contents import Contents, Place, file_stamps
from landscape.checkpoints.formats.format import Format, description_allowance
from landscape.checkpoints.formats.parts import Part
from landscape.checkpoints.formats.pickle_values import RefusedGlobalError
from landscape.checkpoints.formats.pickled import MAX_DESCRIPTION, Pickle, Stream, interpret_pickle
from landscape.checkpoints.formats.running_code import TRUST, refuse
from landscape.checkpoints.formats.tensor_refs import DamageError, LargeDescriptionError, Storage, TensorRef
from landscape.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

LEGACY_PROTOCOL = 1001  # of torch's old writer
COUNT_BYTES = 8  # before each storage of the old format: how many items it has
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number as its old writer pickled it


def describe_zip(path: Path) -> Contents:
    """The description of a zip archive; raises CheckpointError if it is damaged or holds what is no data."""
    stamp = file_stamps((path,))
    allowance = description_allowance(stamp[0][0])
    inside = archive.members(path, archive.zip_entries(path, allowance))
    if "byteorder" in inside and archive.read_member(path, inside["byteorder"]) != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine", fix="save it as safetensors there")
    description = inside["data.pkl"]
    archive.require_intact(path, description)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        begin = archive.content_offset(file, description, path)
        pickle = interpret_in(path, Window(view, begin, begin + description.size), allowance)
    places = {
        name.removeprefix("data/"): Place(path, member=member)
        for name, member in inside.items()
        if name.startswith("data/")
    }
    places |= array_places(path, pickle, begin)
    return Contents(path, TORCH_ZIP, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


def describe_shard(part: Part) -> tuple[TensorRef, Place]:
    """The only tensor in an archive inside a file, and where its bytes are; CheckpointError for anything else."""
    allowance = description_allowance(part.size)
    inside = archive.members(part, archive.zip_entries(part, allowance))
    if "data.pkl" not in inside or inside["data.pkl"].size > MAX_DESCRIPTION:
        raise CheckpointError(f"{part} is no tensor that torch saved", fix="copy it again")
    tree = interpret_in(part, io.BytesIO(archive.read_member(part, inside["data.pkl"])), allowance).tree
    if not isinstance(tree, TensorRef) or f"data/{tree.storage.key}" not in inside:
        raise CheckpointError(f"{part} is no tensor that torch saved", fix="copy it again")
    return tree, Place(part.file, member=inside[f"data/{tree.storage.key}"], part=part)


def describe_legacy(path: Path) -> Contents:
    """The description of a file in the old format; raises CheckpointError as for zip archives."""
    stamp = file_stamps((path,))
    allowance = description_allowance(stamp[0][0])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        view.seek(len(LEGACY_MAGIC))
        protocol, system = (interpret_in(path, view, allowance).tree for _ in range(2))
        if protocol != LEGACY_PROTOCOL or not (isinstance(system, dict) and system.get("little_endian")):
            raise CheckpointError(f"{path} is of a kind that torch no longer writes", fix="save it again with torch")
        pickle = interpret_in(path, view, allowance)
        keys = interpret_in(path, view, allowance).tree
        places = _legacy_places(path, keys, pickle.storages, view) | array_places(path, pickle)
    return Contents(path, TORCH_LEGACY, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


def describe_pickle(path: Path) -> Contents:
    """The description of a bare pickle of a dictionary with NumPy arrays; raises CheckpointError for any other."""
    stamp = file_stamps((path,))
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            pickle = interpret_pickle(view, description_allowance(stamp[0][0]))
    except (RefusedGlobalError, DamageError):
        refuse(path, "a bare pickle", brings_model=True)
    if not (isinstance(pickle.tree, dict) and pickle.arrays):
        refuse(path, "a bare pickle", brings_model=True)
    return Contents(path, PICKLE, (path,), pickle.tree, array_places(path, pickle), None, pickle.bystanders, stamp)


def array_places(path: Path, pickle: Pickle, begin: int = 0) -> dict[str, Place]:
    """Where the bytes of a pickle's NumPy arrays are; the pickle begins at that offset in the file."""
    return {
        key: Place(path, content=content)
        if isinstance(content, bytes)
        else Place(path, begin + content.begin, text=content.size if content.encoded else 0)
        for key, content in pickle.arrays.items()
    }


class Window:
    """A range of a mapped file as a stream of its own."""

    def __init__(self, view: mmap.mmap, begin: int, end: int) -> None:
        self.view, self.begin, self.end = view, begin, min(end, len(view))
        view.seek(begin)

    def read(self, size: int) -> bytes:
        """So many bytes, or those up to the end of the window."""
        return self.view.read(max(0, min(size, self.end - self.view.tell())))

    def readline(self) -> bytes:
        """The bytes up to the next line's end, or to that of the window."""
        place = self.view.tell()
        found = self.view.find(b"\n", place, self.end)
        return self.read((self.end if found < 0 else found + 1) - place)

    def tell(self) -> int:
        """The offset in the window."""
        return self.view.tell() - self.begin

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """Moves to an offset from the window's beginning or end."""
        self.view.seek((self.end if whence == os.SEEK_END else self.begin) + offset)


def _legacy_places(path: Path, keys: Any, storages: Mapping[str, Storage], view: mmap.mmap) -> dict[str, Place]:
    """Where each storage is: one after the other, in the order of the keys, each behind its count."""
    places: dict[str, Place] = {}
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(view.read(COUNT_BYTES), "little")
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or storage.count != count or view.tell() + storage.nbytes > len(view):
            break
        places[key] = Place(path, view.tell())
        view.seek(storage.nbytes, os.SEEK_CUR)
    if places.keys() != storages.keys():
        raise CheckpointError(f"{path} is damaged or truncated: its tensors are not all there", fix="copy it again")
    return places


def interpret_in(path: Path | Part, stream: Stream, allowance: int) -> Pickle:
    """The pickle in a file, followed; raises CheckpointError for damage and for names that run commands or code."""
    try:
        return interpret_pickle(stream, allowance)
    except RefusedGlobalError as error:
        raise CheckpointError(
            f"{path} holds Python objects besides tensors: {error}",
            why="landscape opens checkpoints as data only, and opening this one elsewhere runs commands or code",
            fix="do not open it; ask its author for the weights alone, as safetensors or "
            "torch.save(model.state_dict(), path)",
        ) from None
    except LargeDescriptionError as error:
        raise CheckpointError(
            f"{path} holds too many Python objects besides tensors to be read as data",
            why=str(error),
            fix="re-save the weights alone, where the file is at home: torch.save(model.state_dict(), path), or, "
            f"{TRUST.format(path=path)} --model model.py:build",
        ) from error
    except DamageError as error:
        raise CheckpointError(
            f"{path} is damaged or truncated: its description cannot be read", why=str(error), fix="copy it again"
        ) from error


def fetch_arrays(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors of a file by name; raises CheckpointError for truncated files and wrong checksums."""
    from landscape.checkpoints.formats.fetching import fetch_storages  # needs torch

    return fetch_storages(contents, refs)


TORCH_ZIP = Format(
    "torch", lambda candidate: "data.pkl" in candidate.zip_members, describe_zip, fetch_arrays, keeps_tree=True
)
TORCH_LEGACY = Format(
    "torch (legacy)",
    lambda candidate: candidate.head.startswith(LEGACY_MAGIC),
    describe_legacy,
    fetch_arrays,
    keeps_tree=True,
)
PICKLE = Format("pickle", lambda candidate: candidate.head[:1] == b"\x80", describe_pickle, fetch_arrays)
