"""Writes a copy of a checkpoint in which some tensors have new values, and the undo file that restores the original."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape.checkpoints import json_data, reading, selection
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.checkpoints.edits.casting import cast_values, tensor_bytes
from landscape.checkpoints.edits.digests import file_sha256, pieces_sha256
from landscape.checkpoints.edits.layout import EditLayout, conversion_layout, patch_layout
from landscape.checkpoints.edits.segments import Assembly, literal_bytes
from landscape.checkpoints.edits.undo import is_unaltered_edit
from landscape.checkpoints.edits.undo_file import MANIFEST_SCHEMA, UndoFile
from landscape.checkpoints.formats.detection import describe, detect_format
from landscape.checkpoints.formats.tensor_refs import TensorRef
from landscape.errors import CheckpointError, UsageError, listing
from landscape.storage import atomic_files, paths

ELSEWHERE = "write elsewhere, or move what is there away"


def write_edit(
    path: Path,
    changes: Mapping[str, Tensor],
    output: Path,
    *,
    weights: str | None = None,
    about: Mapping[str, Any],
) -> list[Path]:
    """Writes a copy of the checkpoint at `path` to `output`, with new values of some tensors, and its undo file.

    `changes` holds float64 values by the names in `Checkpoint.tensors`; each value is cast once, and every other tensor
    keeps its bits. A safetensors file keeps its layout, with a mark in its header, and a directory keeps its other
    files (not its subdirectories, and not results of landscape). A torch file becomes a safetensors file of the
    selected weights, its description and its extras. `about` holds free facts, which the undo file stores. Returns the
    files that were written, the undo file last.

    Raises UsageError for unsuitable names, shapes and outputs, CheckpointError for a checkpoint that cannot be read,
    NumericalError for values that the stored dtype cannot hold, and OutputError for a full disk; nothing is written
    then.
    """
    path, output = Path(path), Path(output)
    require_editable(path)
    contents, facts = describe(path), _plain_facts(about)
    _require_free(path, output)
    checkpoint = reading.read_contents(contents, weights)
    tensors = selection.select_weights(contents.tree, weights, path).weight_set.tensors
    refs = {name: ref for name, ref in tensors.items() if isinstance(ref, TensorRef)}
    values = cast_values(changes, refs)
    if contents.format.editable:
        by_key = {refs[name].storage.key: tensor for name, tensor in values.items()}
        layout = patch_layout(contents, by_key, output, checkpoint.sha256)
    else:
        layout = conversion_layout(contents, checkpoint, refs, values, output)
    with atomic_files.draft_folder(output) as folder:
        edited = {name: atomic_files.write_new_file(folder / name, pieces) for name, pieces in layout.written.items()}
        draft = folder if path.is_dir() else folder / output.name
        _require_readable(draft, weights if contents.format.editable else None, checkpoint, values)
        original = {file.name: file_sha256(file) for file in layout.originals}
        manifest = {
            "schema": MANIFEST_SCHEMA,
            "original": _manifest_part(path, original, directory=path.is_dir())
            | {"format": contents.format.name, "sha256": checkpoint.sha256},
            "edited": _manifest_part(output, edited, directory=path.is_dir()),
            "weights": weights,
            "changed": sorted(values),
            "about": facts,
        }
        undo = UndoFile(manifest, _original_assemblies(layout, folder, list(original.values())))
        contents.require_unchanged()
        return _move_into_place(folder, output, undo, list(edited))


def _move_into_place(folder: Path, output: Path, undo: UndoFile, edited: list[str]) -> list[Path]:
    """Writes the undo file beside the drafts, renames all of them into their places, and returns these."""
    if undo.manifest["edited"]["directory"]:
        atomic_files.write_new_file(folder / paths.UNDO_INSIDE, [undo.to_bytes()])
        atomic_files.move_folder(folder, output)
        return [output / name for name in (*edited, paths.UNDO_INSIDE)]
    undo_path = paths.undo_beside(output)
    atomic_files.write_new_file(folder / undo_path.name, [undo.to_bytes()])
    atomic_files.move_files(folder, {undo_path.name: undo_path, output.name: output})
    return [output, undo_path]


def _plain_facts(about: Mapping[str, Any]) -> Any:
    """The facts as they will be read again; raises UsageError for values that JSON does not have."""
    try:
        return json_data.parse_json(json.dumps(dict(about), allow_nan=False).encode(), "about")
    except (TypeError, ValueError, RecursionError, CheckpointError) as error:
        raise UsageError(f"about is no plain data: {error}", fix="words, finite numbers, lists and tables") from None


def require_editable(path: Path) -> None:
    """Raises UsageError for a directory whose files are not edited as they are."""
    format = detect_format(path)
    if path.is_dir() and not format.editable:
        raise UsageError(
            f"{path} is a {format.name}, which is not edited as it is",
            fix=f"save its weights in one file first: torch.save(landscape.checkpoints.read({str(path)!r}).tensors, "
            "'whole.pt'), then landscape edit whole.pt",
        )


def _require_free(path: Path, output: Path) -> None:
    """Raises UsageError if the output has an unsuitable name, or holds anything but an earlier, unaltered edit."""
    directory = path.is_dir()
    if not directory and (not output.name.endswith(".safetensors") or output.name.endswith(paths.UNDO)):
        raise UsageError(
            f"{output} will not do as the name of an edited checkpoint",
            why="it is written as safetensors, whatever the original was",
            fix=f"a name that ends in .safetensors and not in {paths.UNDO}",
        )
    if output.exists() and output.samefile(path):
        raise UsageError(f"{output} is the original itself, which stays as it is", fix="write elsewhere")
    if os.path.lexists(output):
        if output.is_dir() != directory or not is_unaltered_edit(output):
            raise UsageError(f"{output} exists, and is not what an earlier edit wrote", fix=ELSEWHERE)
    elif not directory and os.path.lexists(paths.undo_beside(output)):
        raise UsageError(
            f"{paths.undo_beside(output)} exists without {output.name}",
            why="an edited checkpoint of another name may need it",
            fix=ELSEWHERE,
        )


def _require_readable(draft: Path, weights: str | None, checkpoint: Checkpoint, values: Mapping[str, Tensor]) -> None:
    """Reads the draft again; raises CheckpointError unless it holds the intended tensors and nothing else."""
    again = reading.read(draft, weights=weights)
    intended = {**checkpoint.tensors, **values}
    if again.tensors.keys() == intended.keys() and again.extras.keys() == checkpoint.extras.keys():
        wrong = [name for name in intended if tensor_bytes(again.tensors[name]) != tensor_bytes(intended[name])]
    else:
        wrong = ["its names"]
    if wrong or again.spec != checkpoint.spec:
        raise CheckpointError(
            f"{checkpoint.path} cannot be written so that it reads as it does: {listing(wrong) or 'its description'}",
            fix="save its weights alone, by a model's own names: torch.save(model.state_dict(), path)",
        )


def _manifest_part(path: Path, digests: Mapping[str, str], *, directory: bool) -> dict[str, Any]:
    """A checkpoint in the manifest: its name and the digests of its files."""
    files = [{"name": name, "sha256": digest} for name, digest in digests.items()]
    name = path.name if path.name not in ("", "..") else path.resolve().name
    return {"name": name, "directory": directory, "files": files}


def _original_assemblies(layout: EditLayout, folder: Path, digests: list[str]) -> tuple[Assembly, ...]:
    """The assemblies of the originals from the drafts, each tried once; raises CheckpointError if a file changed."""
    drafts = [folder / name for name in layout.written]
    assemblies = tuple(Assembly(segments, literal_bytes(file, segments)) for file, segments in layout.originals.items())
    for file, assembly, digest in zip(layout.originals, assemblies, digests, strict=True):
        if pieces_sha256(assembly.pieces(drafts)) != digest:
            raise CheckpointError(
                f"{file} changed while it was read", fix="copy it where nothing writes to it, and edit the copy"
            )
    return assemblies
