"""What `torch.save` writes, as zip or in the old format, described without torch and without calling anything."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.checkpoints.formats import archive, sniff
from landscape.checkpoints.formats.contents import Contents, Place, file_stamps
from landscape.checkpoints.formats.pickled import LARGEST, RefusedGlobalError, interpret_pickle
from landscape.checkpoints.formats.tensor_refs import DamageError, Storage
from landscape.errors import CheckpointError

PROTOCOL = 1001  # of torch's old writer
COUNT = 8  # bytes before each storage of the old format that tell how many items it has
TRUST = "if you trust the file:  landscape eig {path} --trust"


def describe_zip(path: Path) -> Contents:
    """The description of a zip archive; raises CheckpointError if it is damaged or holds what is no data."""
    stamp = file_stamps((path,))
    allowance = sniff.description_allowance(stamp[0][0])
    inside = archive.members(path, archive.zip_entries(path, allowance))
    if "byteorder" in inside and archive.read_member(path, inside["byteorder"]) != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine", fix="save it as safetensors there")
    description = inside["data.pkl"]
    if description.size > LARGEST:
        raise CheckpointError(
            f"{path} is damaged: its description alone has {description.size:,} bytes", fix=archive.COPY
        )
    pickle = _interpreted(path, io.BytesIO(archive.read_member(path, description)), allowance)
    places = {
        name.removeprefix("data/"): Place(path, member=member)
        for name, member in inside.items()
        if name.startswith("data/")
    }
    return Contents(path, sniff.TORCH_ZIP, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


def describe_legacy(path: Path) -> Contents:
    """The description of a file in the old format; raises CheckpointError as for zip archives."""
    stamp = file_stamps((path,))
    allowance = sniff.description_allowance(stamp[0][0])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        view.seek(len(sniff.LEGACY_MAGIC))
        protocol, system = (_interpreted(path, view, allowance).tree for _ in range(2))
        if protocol != PROTOCOL or not (isinstance(system, dict) and system.get("little_endian")):
            raise CheckpointError(f"{path} is of a kind that torch no longer writes", fix="save it again with torch")
        pickle = _interpreted(path, view, allowance)
        keys = _interpreted(path, view, allowance).tree
        places = _laid_out(path, keys, pickle.storages, view)
    return Contents(path, sniff.TORCH_LEGACY, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


def _laid_out(path: Path, keys: Any, storages: Mapping[str, Storage], view: mmap.mmap) -> dict[str, Place]:
    """Where each storage is: one after the other, in the order of the keys, each behind its count."""
    places: dict[str, Place] = {}
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(view.read(COUNT), "little")
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or storage.count != count or view.tell() + storage.nbytes > len(view):
            break
        places[key] = Place(path, view.tell())
        view.seek(storage.nbytes, os.SEEK_CUR)
    if places.keys() != storages.keys():
        raise CheckpointError(f"{path} is damaged or truncated: its tensors are not all there", fix="copy it again")
    return places


def _interpreted(path: Path, stream: Any, allowance: int) -> Any:
    try:
        return interpret_pickle(stream, allowance)
    except RefusedGlobalError as error:
        raise CheckpointError(
            f"{path} holds Python objects besides tensors: {error}",
            why="landscape opens checkpoints as data only, and opening such an object runs code",
            fix="re-save the weights alone: torch.save(model.state_dict(), path), or, " + TRUST.format(path=path),
        ) from None
    except DamageError as error:
        raise CheckpointError(
            f"{path} is damaged or truncated: its description cannot be read", why=str(error), fix="copy it again"
        ) from error
