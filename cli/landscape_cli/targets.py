"""From the paths that the user names to targets: checkpoints, each with the file of its results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from landscape.errors import OutputError, UsageError, listing
from landscape.storage import paths


class Target(NamedTuple):
    """A checkpoint to be measured, and the file for its results."""

    checkpoint: Path
    output: Path


def require_checkpoints(named: Sequence[Path], command: str) -> list[Path]:
    """The named checkpoints; raises UsageError if there are none, or if one is a number that a flag should have."""
    if not named:
        raise UsageError(
            "no checkpoint is named",
            fix=f'landscape {command} CKPT, or a line  checkpoint = "CKPT"  in landscape.toml',
        )
    if stray := [str(path) for path in named if not path.exists() and _is_number(str(path))]:
        raise UsageError(
            f"{stray[0]} is taken for a checkpoint, and there is no such file",
            fix="several numbers are joined: --rho 0.1,0.2",
        )
    return [path if path.name.strip(".") else path.resolve() for path in named]  # "." has a name too


def look_at_checkpoint(path: Path, *, trust: bool) -> None:
    """Raises CheckpointError if a path is no checkpoint, by a short look at it that needs no torch."""
    from landscape.checkpoints.formats import detection  # costs the help of the command a tenth of its time

    detection.require_checkpoint(path, trust=trust)


def find_targets(checkpoints: Sequence[Path], output: str | None, kind: str = "") -> list[Target]:
    """The checkpoints with their results files: `output`, or in the folder `output`, or beside each checkpoint.

    `kind` stands before the suffix of files that `output` does not name: `ckpt.check.landscape.h5`. Raises UsageError
    if two checkpoints would share a file, or if `output` is named like a checkpoint.
    """
    if output and Path(output).suffix in paths.CHECKPOINTS:  # a slip of the hand must not replace one
        fix = f"-o {Path(output).stem}{paths.RESULTS}"
        raise UsageError(f"-o {output} would hold results, not a checkpoint", fix=fix)
    files = [paths.results_file(checkpoint, kind) for checkpoint in checkpoints]
    if output is not None and (os.path.isdir(output) or output.endswith("/")):
        _make_folder(Path(output))
        files = [Path(output) / file.name for file in files]
    elif output is not None:
        files = [Path(output)] * len(checkpoints)
    if shared := sorted({str(file) for file in files if files.count(file) > 1}):
        raise UsageError(
            f"several checkpoints would be written to {listing(shared)}",
            fix=f"a folder for all: -o {output}/" if output else "measure them one by one with -o",
        )
    return [Target(checkpoint, file) for checkpoint, file in zip(checkpoints, files, strict=True)]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror}", fix="another -o FOLDER/") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
