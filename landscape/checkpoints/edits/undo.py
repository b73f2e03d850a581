"""Restores the original of an edited checkpoint, bit for bit, from the edited copy and its undo file alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from landscape.checkpoints.edits.digests import file_sha256
from landscape.checkpoints.edits.segments import LITERAL
from landscape.checkpoints.edits.undo_file import UndoFile, parse_manifest, read_undo_file, undo_file_error
from landscape.errors import CheckpointError, UsageError, listing, safe_excerpt
from landscape.storage import atomic_files
from landscape.storage.paths import UNDO, UNDO_INSIDE, UNDO_KEY, safetensors_metadata, undo_file


def read_manifest(edited: Path) -> dict[str, Any]:
    """The manifest of an edited checkpoint: `original` and `edited` with their files, names `changed`, and `about`.

    Raises UsageError if there is no undo file, and CheckpointError if it is damaged.
    """
    return parse_manifest(_existing_undo_file(Path(edited)))


def undo_edit(edited: Path, output: Path | None = None) -> Path:
    """Restores the original of an edited checkpoint as `output`, or under its own name beside the edited one.

    Returns the path of the original. Raises UsageError if there is no undo file, if it belongs to another edit, or if
    something else than the original is at `output`; CheckpointError if the undo file is damaged, or the edited
    checkpoint was altered after the edit.
    """
    edited = Path(edited)
    undo = read_undo_file(_existing_undo_file(edited))
    sources = _files_of_edit(edited, undo.manifest)
    original = undo.manifest["original"]
    _require_unaltered(edited, sources, undo.manifest["edited"])
    _require_within_sources(edited, sources, undo)
    home = edited.parent if edited.name not in ("", "..") else edited.resolve().parent
    output = home / original["name"] if output is None else Path(output)
    if os.path.lexists(output):
        _require_identical(output, original)
        return output
    with atomic_files.draft_folder(output) as folder:
        for file, assembly in zip(original["files"], undo.assemblies, strict=True):
            if atomic_files.write_new_file(folder / file["name"], assembly.pieces(sources)) != file["sha256"]:
                raise undo_file_error(undo_file(edited), f"it does not give {file['name']} back")
        if original["directory"]:
            atomic_files.move_folder(folder, output)
        else:
            atomic_files.move_files(folder, {original["files"][0]["name"]: output})
    return output


def is_unaltered_edit(edited: Path) -> bool:
    """Whether a file or directory is exactly what an edit wrote, with nothing else in the directory."""
    try:
        manifest = read_manifest(edited)
        _require_unaltered(edited, _files_of_edit(edited, manifest), manifest["edited"])
    except (CheckpointError, UsageError, OSError):
        return False
    written = {UNDO_INSIDE, *(file["name"] for file in manifest["edited"]["files"])}
    return not edited.is_dir() or {entry.name for entry in edited.iterdir()} == written


def digests_of_edits(folder: Path) -> set[str]:
    """The sha256 of the edited files that the undo files in a folder list; the files may have been renamed."""
    digests: set[str] = set()
    for path in folder.iterdir():
        try:
            if path.name.endswith(UNDO) or (path.is_file() and UNDO_KEY in safetensors_metadata(path)):
                manifest = parse_manifest(path)
                digests |= {file["sha256"] for file in manifest["edited"]["files"]}
                digests -= {file["sha256"] for file in manifest["original"]["files"]}  # an edit that changed nothing
        except CheckpointError:  # a damaged undo file lists nothing
            continue
    return digests


def _existing_undo_file(edited: Path) -> Path:
    """The path of the undo file; raises UsageError if it or the edited checkpoint is missing."""
    if not edited.exists():
        raise UsageError(f"there is no {edited}", fix="name the edited checkpoint")
    path = undo_file(edited)
    if not path.is_file():
        raise UsageError(
            f"{edited} cannot be undone: there is no {path}", fix="name an edited checkpoint, with its undo file there"
        )
    return path


def _files_of_edit(edited: Path, manifest: dict[str, Any]) -> list[Path]:
    """The paths of the edited files; a single file may have been renamed, files in a directory may not."""
    if edited.is_dir() != manifest["edited"]["directory"]:
        raise _another_edit(edited, manifest["edited"]["name"])
    return [edited / file["name"] for file in manifest["edited"]["files"]] if edited.is_dir() else [edited]


def _require_unaltered(edited: Path, sources: list[Path], part: dict[str, Any]) -> None:
    """Raises CheckpointError or UsageError unless the edited files have the digests in their part of the manifest."""
    pairs = list(zip(sources, part["files"], strict=True))
    altered = [path.name for path, file in pairs if not path.is_file() or file_sha256(path) != file["sha256"]]
    if altered and edited.name not in ("", "..", part["name"]):
        raise _another_edit(edited, part["name"])
    if altered:
        raise CheckpointError(
            f"{edited} was altered after its edit: {listing(altered)}",
            why="the original is restored from the bytes that the edit wrote",
            fix="put those files back as they were written",
        )


def _require_within_sources(edited: Path, sources: list[Path], undo: UndoFile) -> None:
    """Raises CheckpointError for segments outside their sources, or that take more bytes than all sources have."""
    sizes = [path.stat().st_size for path in sources]
    for assembly in undo.assemblies:
        available = {LITERAL: len(assembly.literal), **dict(enumerate(sizes))}
        outside = [
            segment
            for segment in assembly.segments
            if segment.length < 1 or not 0 <= segment.begin <= available.get(segment.source, -1) - segment.length
        ]
        if outside or assembly.size > sum(available.values()):
            raise undo_file_error(undo_file(edited), "it takes bytes from where none are")


def _require_identical(output: Path, original: dict[str, Any]) -> None:
    """Raises UsageError unless the path holds the original; a directory may hold other files too."""
    files = {output / file["name"] if original["directory"] else output: file for file in original["files"]}
    if not all(path.is_file() and file_sha256(path) == file["sha256"] for path, file in files.items()):
        raise UsageError(
            f"{output} exists, and is not the original", fix="restore it elsewhere, or move what is there away"
        )


def _another_edit(edited: Path, name: str) -> UsageError:
    return UsageError(
        f"{undo_file(edited)} belongs to another edit, that of {safe_excerpt(name)}",
        fix=f"name {safe_excerpt(name)}, or put the undo file of {edited.name} in its place",
    )
