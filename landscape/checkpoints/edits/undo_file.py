"""Undo files: a manifest of an edit, and how each original file is assembled from the edited files. Needs no torch.

The names are made in `storage/paths.py`: the undo file of `NAME.safetensors` is `NAME.undo.safetensors` beside it. The
undo file of a directory is `landscape.undo` inside it, so that both move as one: libraries search a directory for
`*.safetensors`, `*.bin` and `*.json`, and no index of shards lists that name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from landscape.checkpoints import json_data
from landscape.checkpoints.edits.segments import Assembly, Segment
from landscape.checkpoints.formats.safetensors_format import describe_safetensors
from landscape.errors import CheckpointError
from landscape.storage.paths import UNDO_KEY

MANIFEST_SCHEMA = 1
DAMAGED = "without an undo file the original cannot be restored: copy both again from where they were written"


@dataclass(frozen=True)
class UndoFile:
    """A manifest, and for each of its original files the assembly whose sources are the edited files."""

    manifest: dict[str, Any]
    assemblies: tuple[Assembly, ...]

    def to_bytes(self) -> bytes:
        """The content of the undo file; raises CheckpointError for a manifest that `read_undo_file` would refuse."""
        text = json.dumps(self.manifest, sort_keys=True, allow_nan=False)
        if not is_valid_manifest(json_data.parse_json(text.encode(), "the manifest of the edit")):
            raise CheckpointError("the checkpoint has files whose names cannot be restored", fix="rename them")
        arrays = {}
        for number, assembly in enumerate(self.assemblies):
            rows = [(segment.source, segment.begin, segment.length) for segment in assembly.segments]
            arrays[f"segments.{number}"] = np.array(rows, np.int64).reshape(-1, 3)
            arrays[f"literal.{number}"] = np.frombuffer(assembly.literal, np.uint8)
        return save(arrays, {UNDO_KEY: text})


def read_undo_file(path: Path) -> UndoFile:
    """The undo file at a path; raises CheckpointError if it is damaged."""
    manifest = parse_manifest(path)
    try:
        with safe_open(path, framework="np") as file:
            numbers = range(len(manifest["original"]["files"]))
            assemblies = tuple(_read_assembly(path, file, number) for number in numbers)
    except (SafetensorError, OSError) as error:
        raise undo_file_error(path, str(error)) from error
    return UndoFile(manifest, assemblies)


def parse_manifest(path: Path) -> dict[str, Any]:
    """The manifest in an undo file; raises CheckpointError if the file is damaged, or of a newer version."""
    describe_safetensors(path)  # raises for a header that is damaged or absurdly large
    with safe_open(path, framework="np") as file:
        text = (file.metadata() or {}).get(UNDO_KEY)
    if text is None:
        raise undo_file_error(path, "it has no manifest")
    manifest = json_data.parse_json(text.encode(), f"{path}: its manifest")
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if type(schema) is int and schema > MANIFEST_SCHEMA:
        raise CheckpointError(f"{path} was written by a newer landscape", fix="upgrade loss-landscape-geometry")
    if schema != MANIFEST_SCHEMA or not is_valid_manifest(manifest):
        raise undo_file_error(path, "its manifest is not readable")
    valid: dict[str, Any] = manifest
    return valid


def is_valid_manifest(manifest: dict[str, Any]) -> bool:
    """Whether a manifest describes the original and the edited checkpoint, by file names that lead nowhere else."""
    has_facts = isinstance(manifest.get("about"), dict) and isinstance(manifest.get("changed"), list)
    return has_facts and _is_valid_part(manifest.get("original")) and _is_valid_part(manifest.get("edited"))


def undo_file_error(path: Path, why: str) -> CheckpointError:
    """The error for an undo file that cannot be read, or does not restore what it promises."""
    return CheckpointError(f"the undo file {path} is damaged", why=why, fix=DAMAGED)


def _read_assembly(path: Path, file: Any, number: int) -> Assembly:
    rows, literal = file.get_tensor(f"segments.{number}"), file.get_tensor(f"literal.{number}")
    if rows.dtype != np.int64 or rows.shape[1:] != (3,) or literal.dtype != np.uint8 or literal.ndim != 1:
        raise undo_file_error(path, "its arrays are of another kind")
    return Assembly(tuple(Segment(*row) for row in rows.tolist()), literal.data)


def _is_valid_part(part: Any) -> bool:
    """Whether one of the two checkpoints has a name, and files with distinct names and digests."""
    if not (isinstance(part, dict) and _is_file_name(part.get("name")) and isinstance(part.get("directory"), bool)):
        return False
    files = part.get("files")
    if not (isinstance(files, list) and files and all(isinstance(file, dict) for file in files)):
        return False
    names = [file.get("name") for file in files]
    if not (all(map(_is_file_name, names)) and all(isinstance(file.get("sha256"), str) for file in files)):
        return False
    return len(set(names)) == len(names) and (part["directory"] or len(names) == 1)


def _is_file_name(name: Any) -> bool:
    """Whether a value is the name of a file and no path, on any system."""
    return (
        isinstance(name, str)
        and Path(name).name == name  # on Windows `C:name` is a path too
        and name not in ("", ".", "..")
        and not set(name) & set("/\\\0")
    )
