"""Files of NumPy arrays: `.npz` archives, and `.npy` files with a dictionary in them, read as data. Needs no torch."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from landscape.checkpoints.formats import archive
from landscape.checkpoints.formats.contents import Contents, Place, file_stamps
from landscape.checkpoints.formats.format import ZIP_SIGNATURE, Candidate, Format, description_allowance
from landscape.checkpoints.formats.numpy_arrays import MAGIC, OBJECTS, read_header
from landscape.checkpoints.formats.pickle_values import OpaqueValue
from landscape.checkpoints.formats.tensor_refs import ArrayRef, DamageError
from landscape.checkpoints.formats.torch_format import Window, array_places, fetch_arrays, interpret_in
from landscape.errors import CheckpointError, safe_excerpt

ENDING = ".npy"


def describe_npz(path: Path) -> Contents:
    """The description of an `.npz` archive; raises CheckpointError if it is damaged or compressed."""
    stamp = file_stamps((path,))
    entries = archive.zip_entries(path, description_allowance(stamp[0][0]))
    if any(entry.compress_type for entry in entries):
        raise CheckpointError(
            f"{path} is compressed, and may take any memory", fix="save it with numpy.savez, without compression"
        )
    tree: dict[str, ArrayRef | OpaqueValue] = {}
    places: dict[str, Place] = {}
    for name, member in archive.members(path, entries, rooted=False).items():
        with path.open("rb") as file:
            file.seek(archive.content_offset(file, member, path))
            try:
                ref, size, kind = read_header(file, name)
            except DamageError as error:
                what = f"{path} is damaged: its member {safe_excerpt(name)} has {error}"
                raise CheckpointError(what, fix="copy or save it again") from error
        tree[name.removesuffix(ENDING)] = ref or OpaqueValue(f"NumPy array of {kind}")
        places[name] = Place(path, size, member)
    odd = tuple(sorted({value.kind for value in tree.values() if isinstance(value, OpaqueValue)}))
    return Contents(path, NPZ, (path,), tree, places, None, odd, stamp)


def describe_npy(path: Path) -> Contents:
    """The description of an `.npy` file of one dictionary; raises CheckpointError for one of plain numbers."""
    stamp = file_stamps((path,))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        try:
            _, size, kind = read_header(file, "")
        except DamageError as error:
            raise CheckpointError(f"{path} is damaged: it has {error}", fix="copy it again") from error
        if kind.strip("<>|=") != OBJECTS:
            raise CheckpointError(
                f"{path} is a NumPy array, not a checkpoint",
                fix="a checkpoint has tensors by name; save them with safetensors.numpy.save_file, or numpy.savez",
            )
        pickle = interpret_in(path, Window(view, size, len(view)), description_allowance(stamp[0][0]))
    places = array_places(path, pickle, size)
    beside = tuple(kind for kind in pickle.bystanders if kind != "numpy.ndarray")  # the dictionary is in one
    return Contents(path, NPY, (path,), _only_item(pickle.tree), places, None, beside, stamp)


def _only_item(value: Any) -> Any:
    """What an array of one object holds."""
    items = (
        value.state[-1] if isinstance(value, OpaqueValue) and isinstance(value.state, tuple) and value.state else None
    )
    return items[0] if isinstance(items, list) and len(items) == 1 else value


def _holds_arrays(candidate: Candidate) -> bool:
    inside = candidate.zip_members if candidate.head.startswith(ZIP_SIGNATURE) else frozenset()
    return bool(inside) and all(name.endswith(ENDING) for name in inside)


NPZ = Format("NumPy archive", _holds_arrays, describe_npz, fetch_arrays)
NPY = Format("NumPy dictionary", lambda candidate: candidate.head.startswith(MAGIC), describe_npy, fetch_arrays)
