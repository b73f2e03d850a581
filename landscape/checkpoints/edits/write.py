"""Writes a copy of a checkpoint in which some tensors have new values, and what restores the original from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape.checkpoints import json_data, reading, weight_sets
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.checkpoints.edits.casting import cast_values, tensor_bytes
from landscape.checkpoints.edits.layout import EditLayout, conversion_layout, patch_layout
from landscape.checkpoints.edits.segments import Assembly, literal_bytes
from landscape.checkpoints.edits.undo import SCHEMA, UndoFile, file_sha256, is_unaltered_edit, pieces_sha256
from landscape.checkpoints.formats.detection import describe
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
    """Writes the checkpoint at `path` to `output` with new values of some tensors; every other one keeps its bits.

    `changes` has float64 values by the names in `Checkpoint.tensors`; they are cast once. A safetensors file keeps its
    layout, and a directory its other files (not its subdirectories, and not results of landscape). A torch file
    becomes a safetensors file of the chosen weights, its description and its extras. Beside it comes an undo file (see
    `landscape.checkpoints.undoing`), with `about`, which holds free facts. Returns the files that were written.

    Raises UsageError for names, shapes and outputs that will not do, CheckpointError for a checkpoint that cannot be
    read, NumericalError for values that the stored dtype cannot hold, and OutputError for a full disk; nothing is
    written then.
    """
    path, output = Path(path), Path(output)
    contents, facts = describe(path), _facts(about)
    folded = path.is_dir()
    _require_free(path, output)
    checkpoint = reading.read_contents(contents, weights)
    tensors = weight_sets.select_weights(contents.tree, weights, path).nest.tensors
    refs = {name: ref for name, ref in tensors.items() if isinstance(ref, TensorRef)}
    values = cast_values(changes, refs)
    kept = contents.format.editable
    if kept:
        by_key = {refs[name].storage.key: tensor for name, tensor in values.items()}
        plan = patch_layout(contents, by_key, output, checkpoint.sha256)
    else:
        plan = conversion_layout(contents, checkpoint, refs, values, output)
    with atomic_files.draft_folder(output) as folder:
        edited = {name: atomic_files.write_new_file(folder / name, pieces) for name, pieces in plan.written.items()}
        _require_written(folder if folded else folder / output.name, weights if kept else None, checkpoint, values)
        original = {file.name: file_sha256(file) for file in plan.originals}
        said = {
            "schema": SCHEMA,
            "original": _described(path, original) | {"format": contents.format.name, "sha256": checkpoint.sha256},
            "edited": _described(output, edited, directory=folded),
            "weights": weights,
            "changed": sorted(values),
            "about": facts,
        }
        undo = UndoFile(said, _recipes(plan, folder, list(original.values())))
        contents.require_unchanged()
        name = paths.UNDO_INSIDE if folded else paths.undo_beside(output).name
        atomic_files.write_new_file(folder / name, [undo.to_bytes()])
        if folded:
            atomic_files.move_folder(folder, output)
        else:
            atomic_files.move_files(folder, {place: output.with_name(place) for place in (name, output.name)})
    home = output if folded else output.parent
    return [home / place for place in (*edited, name)]


def _facts(about: Mapping[str, Any]) -> Any:
    """The facts as they will be read again; raises UsageError for what JSON does not have."""
    try:
        return json_data.parse_json(json.dumps(dict(about), allow_nan=False).encode(), "about")
    except (TypeError, ValueError, RecursionError, CheckpointError) as error:
        raise UsageError(f"about is no plain data: {error}", fix="words, finite numbers, lists and tables") from None


def _require_free(path: Path, output: Path) -> None:
    """Raises UsageError if something is in the way that no earlier edit wrote as it is."""
    folded = path.is_dir()
    if not folded and (not output.name.endswith(".safetensors") or output.name.endswith(paths.UNDO)):
        raise UsageError(
            f"{output} will not do as the name of an edited checkpoint",
            why="it is written as safetensors, whatever the original was",
            fix=f"a name that ends in .safetensors and not in {paths.UNDO}",
        )
    if output.exists() and output.samefile(path):
        raise UsageError(f"{output} is the original itself, which stays as it is", fix="write elsewhere")
    if os.path.lexists(output):
        if output.is_dir() != folded or not is_unaltered_edit(output):
            raise UsageError(f"{output} exists, and is not what an earlier edit wrote", fix=ELSEWHERE)
    elif not folded and os.path.lexists(paths.undo_beside(output)):
        raise UsageError(
            f"{paths.undo_beside(output)} exists without {output.name}",
            why="an edited checkpoint of another name may need it",
            fix=ELSEWHERE,
        )


def _require_written(draft: Path, weights: str | None, checkpoint: Checkpoint, values: Mapping[str, Tensor]) -> None:
    """Reads the draft again; raises CheckpointError unless it has the tensors that were meant, and nothing else."""
    found = reading.read(draft, weights=weights)
    meant = {**checkpoint.tensors, **values}
    same = found.tensors.keys() == meant.keys() and found.extras.keys() == checkpoint.extras.keys()
    wrong = (
        [name for name in meant if tensor_bytes(found.tensors[name]) != tensor_bytes(meant[name])]
        if same
        else ["its names"]
    )
    if wrong or found.spec != checkpoint.spec:
        raise CheckpointError(
            f"{checkpoint.path} cannot be written so that it reads as it does: {listing(wrong) or 'its description'}",
            fix="save its weights alone, by a model's own names: torch.save(model.state_dict(), path)",
        )


def _described(path: Path, digests: Mapping[str, str], *, directory: bool | None = None) -> dict[str, Any]:
    files = [{"name": name, "sha256": digest} for name, digest in digests.items()]
    called = path.name if path.name not in ("", "..") else path.resolve().name
    return {"name": called, "directory": path.is_dir() if directory is None else directory, "files": files}


def _recipes(plan: EditLayout, folder: Path, digests: list[str]) -> tuple[Assembly, ...]:
    """How the originals are put together from the drafts, tried once; raises CheckpointError if one changed."""
    drafted = [folder / name for name in plan.written]
    recipes = tuple(Assembly(segments, literal_bytes(file, segments)) for file, segments in plan.originals.items())
    for file, recipe, digest in zip(plan.originals, recipes, digests, strict=True):
        if pieces_sha256(recipe.pieces(drafted)) != digest:
            raise CheckpointError(
                f"{file} changed while it was read", fix="copy it where nothing writes to it, and edit the copy"
            )
    return recipes
