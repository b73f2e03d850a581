"""Undo files: what gives a checkpoint back, bit for bit, from its edited copy alone.

That of `NAME.safetensors` is `NAME.undo.safetensors` beside it, an ending that a trajectory passes over. That of a
directory is `landscape.undo` in it, so that both move as one; it is a safetensors file under a name for which no
library searches a directory (`*.safetensors`, `*.bin`, `*.json`), and which no index of shards has.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from landscape.checkpoints import json_data
from landscape.checkpoints.edits.segments import LITERAL, Assembly, Segment
from landscape.checkpoints.formats.safetensors_format import describe_safetensors
from landscape.errors import CheckpointError, UsageError, listing, safe_excerpt
from landscape.storage import atomic_files
from landscape.storage.paths import UNDO, UNDO_INSIDE, UNDO_KEY, safetensors_metadata, undo_file

SCHEMA = 1
DAMAGED = "without an undo file the original cannot be restored: copy both again from where they were written"


@dataclass(frozen=True)
class UndoFile:
    """A manifest, and a recipe for each of its original files whose sources are its edited files."""

    manifest: dict[str, Any]
    recipes: tuple[Assembly, ...]

    def to_bytes(self) -> bytes:
        """The undo file; raises CheckpointError for a manifest that could not be read again."""
        text = json.dumps(self.manifest, sort_keys=True, allow_nan=False)
        if not is_valid_manifest(json_data.parse_json(text.encode(), "the manifest of the edit")):
            raise CheckpointError("the checkpoint has files whose names cannot be restored", fix="rename them")
        arrays = {}
        for place, recipe in enumerate(self.recipes):
            rows = [(one.source, one.begin, one.length) for one in recipe.segments]
            arrays[f"segments.{place}"] = np.array(rows, np.int64).reshape(-1, 3)
            arrays[f"literal.{place}"] = np.frombuffer(recipe.literal, np.uint8)
        return save(arrays, {UNDO_KEY: text})


def read_manifest(edited: Path) -> dict[str, Any]:
    """What an edit says of itself: `original` and `edited` with their files, names `changed`, and `about`.

    Raises UsageError if there is no undo file, and CheckpointError if it is damaged.
    """
    return _manifest(_present(Path(edited)))


def undo_edit(edited: Path, output: Path | None = None) -> Path:
    """Restores the original of an edited checkpoint as `output`, or under its own name beside the edited one.

    Raises UsageError if there is no undo file, if it is another edit's, or if something else than the original is at
    `output`; CheckpointError if the undo file is damaged, or the edited checkpoint is no longer what was written.
    """
    edited = Path(edited)
    known = _read(_present(edited))
    sources = _sources(edited, known.manifest)
    original = known.manifest["original"]
    _require_unaltered(edited, sources, known.manifest["edited"])
    _require_possible(edited, sources, known)
    home = edited.parent if edited.name not in ("", "..") else edited.resolve().parent
    output = home / original["name"] if output is None else Path(output)
    if os.path.lexists(output):
        _require_identical(output, original)
        return output
    with atomic_files.draft_folder(output) as folder:
        for listed, recipe in zip(original["files"], known.recipes, strict=True):
            if atomic_files.write_new_file(folder / listed["name"], recipe.pieces(sources)) != listed["sha256"]:
                raise _damaged(undo_file(edited), f"it does not give {listed['name']} back")
        if original["directory"]:
            atomic_files.move_folder(folder, output)
        else:
            atomic_files.move_files(folder, {original["files"][0]["name"]: output})
    return output


def is_unaltered_edit(edited: Path) -> bool:
    """Whether a file or directory is exactly what an edit wrote, with nothing else in the directory."""
    try:
        said = read_manifest(edited)
        _require_unaltered(edited, _sources(edited, said), said["edited"])
    except (CheckpointError, UsageError, OSError):
        return False
    written = {UNDO_INSIDE, *(listed["name"] for listed in said["edited"]["files"])}
    return not edited.is_dir() or {entry.name for entry in edited.iterdir()} == written


def edited_digests(folder: Path) -> set[str]:
    """The sha256 of the edited files that the undo files in a folder tell of, whatever they are called now."""
    found: set[str] = set()
    for path in folder.iterdir():
        try:
            if path.name.endswith(UNDO) or (path.is_file() and UNDO_KEY in safetensors_metadata(path)):
                said = _manifest(path)
                found |= {listed["sha256"] for listed in said["edited"]["files"]}
                found -= {listed["sha256"] for listed in said["original"]["files"]}  # an edit that changed nothing
        except CheckpointError:  # a damaged undo file tells nothing
            continue
    return found


def pieces_sha256(pieces: Iterable[bytes | memoryview]) -> str:
    """The sha256 of bytes in pieces."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def file_sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- what must hold before anything is written ---------------------------------------------------------------------


def _present(edited: Path) -> Path:
    if not edited.exists():
        raise UsageError(f"there is no {edited}", fix="name the edited checkpoint")
    path = undo_file(edited)
    if not path.is_file():
        raise UsageError(
            f"{edited} cannot be undone: there is no {path}", fix="name an edited checkpoint, with its undo file there"
        )
    return path


def _sources(edited: Path, said: dict[str, Any]) -> list[Path]:
    """The edited files; a file may have been renamed, those in a directory may not."""
    if edited.is_dir() != said["edited"]["directory"]:
        raise _another(edited, said["edited"]["name"])
    return [edited / listed["name"] for listed in said["edited"]["files"]] if edited.is_dir() else [edited]


def _require_unaltered(edited: Path, sources: list[Path], said: dict[str, Any]) -> None:
    pairs = list(zip(sources, said["files"], strict=True))
    altered = [path.name for path, listed in pairs if not path.is_file() or file_sha256(path) != listed["sha256"]]
    if altered and edited.name not in ("", "..", said["name"]):
        raise _another(edited, said["name"])
    if altered:
        raise CheckpointError(
            f"{edited} was altered after its edit: {listing(altered)}",
            why="the original is restored from the bytes that the edit wrote",
            fix="put those files back as they were written",
        )


def _require_possible(edited: Path, sources: list[Path], known: UndoFile) -> None:
    """Raises CheckpointError for segments that lie outside their sources, or take more bytes than there are."""
    sizes = [path.stat().st_size for path in sources]
    for recipe in known.recipes:
        room = {LITERAL: len(recipe.literal), **dict(enumerate(sizes))}
        outside = [
            one
            for one in recipe.segments
            if one.length < 1 or not 0 <= one.begin <= room.get(one.source, -1) - one.length
        ]
        if outside or recipe.size > sum(room.values()):
            raise _damaged(undo_file(edited), "it takes bytes from where none are")


def _require_identical(output: Path, original: dict[str, Any]) -> None:
    """Raises UsageError unless the path holds the original; a directory may hold other files beside."""
    files = {output / listed["name"] if original["directory"] else output: listed for listed in original["files"]}
    if not all(path.is_file() and file_sha256(path) == listed["sha256"] for path, listed in files.items()):
        raise UsageError(
            f"{output} exists, and is not the original", fix="restore it elsewhere, or move what is there away"
        )


def _another(edited: Path, name: str) -> UsageError:
    return UsageError(
        f"{undo_file(edited)} belongs to another edit, that of {safe_excerpt(name)}",
        fix=f"name {safe_excerpt(name)}, or put the undo file of {edited.name} in its place",
    )


# -- reading, with suspicion ---------------------------------------------------------------------------------------


def _read(path: Path) -> UndoFile:
    said = _manifest(path)
    try:
        with safe_open(path, framework="np") as file:
            recipes = tuple(_recipe(path, file, place) for place in range(len(said["original"]["files"])))
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error
    return UndoFile(said, recipes)


def _recipe(path: Path, file: Any, place: int) -> Assembly:
    rows, literal = file.get_tensor(f"segments.{place}"), file.get_tensor(f"literal.{place}")
    if rows.dtype != np.int64 or rows.shape[1:] != (3,) or literal.dtype != np.uint8 or literal.ndim != 1:
        raise _damaged(path, "its arrays are of another kind")
    return Assembly(tuple(Segment(*row) for row in rows.tolist()), literal.data)


def _manifest(path: Path) -> dict[str, Any]:
    describe_safetensors(path)  # raises for a header that is damaged or absurd
    with safe_open(path, framework="np") as file:
        text = (file.metadata() or {}).get(UNDO_KEY)
    if text is None:
        raise _damaged(path, "it has no manifest")
    said = json_data.parse_json(text.encode(), f"{path}: its manifest")
    schema = said.get("schema") if isinstance(said, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise CheckpointError(f"{path} was written by a newer landscape", fix="upgrade loss-landscape-geometry")
    if schema != SCHEMA or not is_valid_manifest(said):
        raise _damaged(path, "its manifest is not readable")
    found: dict[str, Any] = said
    return found


def is_valid_manifest(said: dict[str, Any]) -> bool:
    """Whether a manifest describes the original and the edited checkpoint, with files that stay in their places."""
    told = isinstance(said.get("about"), dict) and isinstance(said.get("changed"), list)
    return told and _sound(said.get("original")) and _sound(said.get("edited"))


def _sound(part: Any) -> bool:
    if not (isinstance(part, dict) and _plain(part.get("name")) and isinstance(part.get("directory"), bool)):
        return False
    files = part.get("files")
    if not (isinstance(files, list) and files and all(isinstance(listed, dict) for listed in files)):
        return False
    names = [listed.get("name") for listed in files]
    if not (all(map(_plain, names)) and all(isinstance(listed.get("sha256"), str) for listed in files)):
        return False
    return len(set(names)) == len(names) and (part["directory"] or len(names) == 1)


def _plain(name: Any) -> bool:
    """Whether it is the name of a file and no path, on any system."""
    return (
        isinstance(name, str)
        and Path(name).name == name  # on Windows `C:name` is a path too
        and name not in ("", ".", "..")
        and not set(name) & set("/\\\0")
    )


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"the undo file {path} is damaged", why=why, fix=DAMAGED)
