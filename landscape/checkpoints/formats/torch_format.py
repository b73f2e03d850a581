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
from landscape.checkpoints.formats.pickle_values import RefusedGlobalError
from landscape.checkpoints.formats.pickled import MAX_DESCRIPTION, interpret_pickle
from landscape.checkpoints.formats.tensor_refs import DamageError, Storage, TensorRef
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
    if description.size > MAX_DESCRIPTION:
        raise CheckpointError(
            f"{path} is damaged: its description alone has {description.size:,} bytes", fix=archive.COPY
        )
    pickle = _interpret(path, io.BytesIO(archive.read_member(path, description)), allowance)
    places = {
        name.removeprefix("data/"): Place(path, member=member)
        for name, member in inside.items()
        if name.startswith("data/")
    }
    return Contents(path, TORCH_ZIP, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


def describe_legacy(path: Path) -> Contents:
    """The description of a file in the old format; raises CheckpointError as for zip archives."""
    stamp = file_stamps((path,))
    allowance = description_allowance(stamp[0][0])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        view.seek(len(LEGACY_MAGIC))
        protocol, system = (_interpret(path, view, allowance).tree for _ in range(2))
        if protocol != LEGACY_PROTOCOL or not (isinstance(system, dict) and system.get("little_endian")):
            raise CheckpointError(f"{path} is of a kind that torch no longer writes", fix="save it again with torch")
        pickle = _interpret(path, view, allowance)
        keys = _interpret(path, view, allowance).tree
        places = _legacy_places(path, keys, pickle.storages, view)
    return Contents(path, TORCH_LEGACY, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


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


def _interpret(path: Path, stream: Any, allowance: int) -> Any:
    try:
        return interpret_pickle(stream, allowance)
    except RefusedGlobalError as error:
        raise CheckpointError(
            f"{path} holds Python objects besides tensors: {error}",
            why="landscape opens checkpoints as data only, and opening this one elsewhere runs commands or code",
            fix="do not open it; ask its author for the weights alone, as safetensors or "
            "torch.save(model.state_dict(), path)",
        ) from None
    except DamageError as error:
        raise CheckpointError(
            f"{path} is damaged or truncated: its description cannot be read", why=str(error), fix="copy it again"
        ) from error


def _fetch(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors of a file of torch by name; raises CheckpointError for truncated files and wrong checksums."""
    from landscape.checkpoints.formats.fetching import fetch_storages  # needs torch

    return fetch_storages(contents, refs)


TORCH_ZIP = Format(
    "torch", lambda candidate: "data.pkl" in candidate.zip_members, describe_zip, _fetch, keeps_tree=True
)
TORCH_LEGACY = Format(
    "torch (legacy)",
    lambda candidate: candidate.head.startswith(LEGACY_MAGIC),
    describe_legacy,
    _fetch,
    keeps_tree=True,
)
