"""From the paths that the user names to targets: checkpoints, each with the file of its results."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from landscape.errors import LandscapeError, OutputError, UsageError, listing
from landscape.storage import paths
from landscape_cli.labels import apply_labels

EDITED = "edited checkpoint"  # a kind of landscape's own files that is a checkpoint too


class Target(NamedTuple):
    """A checkpoint to be measured, the file for its results, and what it is called among several."""

    checkpoint: Path
    output: Path
    label: str


def require_checkpoints(named: Sequence[Path], command: str) -> list[Path]:
    """The named checkpoints, with those in named folders and of patterns in quotes, in natural order.

    Raises UsageError if there are none, if a pattern fits nothing, or if one is a number that a flag should have.
    """
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
    whole = [path if path.name.strip(".") else path.resolve() for path in named]  # "." has a name too
    return [checkpoint for path in whole for checkpoint in _checkpoints_of(path)]


def _checkpoints_of(path: Path) -> list[Path]:
    """The checkpoints that a path, a folder of checkpoints or a pattern stands for; itself if it is none of these."""
    if path.exists() and not path.is_dir():
        return [path]
    if path.is_dir():
        inside = [] if _is_checkpoint(path) else [child for child in path.iterdir() if _is_checkpoint(child)]
        return sorted(inside, key=paths.natural_order) or [path]
    if not glob.has_magic(str(path)):
        return [path]
    found = [Path(name) for name in glob.glob(str(path), recursive=True) if _is_checkpoint(Path(name))]
    if not found:
        raise UsageError(f"the pattern {path} fits no checkpoint", fix="check the path")
    return sorted(found, key=paths.natural_order)


def _is_checkpoint(path: Path) -> bool:
    """Whether a file, or a directory, is in the format of a checkpoint; files of landscape's own are none."""
    from landscape.checkpoints.formats import detection

    if path.is_file() and (path.suffix not in paths.CHECKPOINTS or paths.file_kind(path) not in (None, EDITED)):
        return False
    try:
        detection.detect_format(path)
    except (LandscapeError, OSError):
        return False
    return True


def look_at_checkpoint(path: Path, *, trust: bool) -> None:
    """Raises CheckpointError if a path is no checkpoint, by a short look at it that needs no torch."""
    from landscape.checkpoints.formats import detection  # costs the help of the command a tenth of its time

    detection.require_checkpoint(path, trust=trust)


def find_targets(
    checkpoints: Sequence[Path], output: str | None, kind: str = "", named: Sequence[str] = ()
) -> list[Target]:
    """The checkpoints with their results files: `output`, or in the folder `output`, or beside each checkpoint.

    In a folder, files of one name lie in the folders that tell their checkpoints apart. `kind` stands before the suffix
    of files that `output` does not name: `ckpt.check.landscape.h5`. `named` are labels as NAME=PATH.
    Raises UsageError if two checkpoints would share a file, or if `output` is named like a checkpoint.
    """
    if output and Path(output).suffix in paths.CHECKPOINTS:  # a slip of the hand must not replace one
        fix = f"-o {Path(output).stem}{paths.RESULTS}"
        raise UsageError(f"-o {output} would hold results, not a checkpoint", fix=fix)
    labels = paths.short_names([str(checkpoint) for checkpoint in checkpoints])
    files = [paths.results_file(checkpoint, kind) for checkpoint in checkpoints]
    if output is not None and paths.names_folder(output):
        inside = _folders_inside(checkpoints, labels)
        files = [Path(output) / folder / file.name for folder, file in zip(inside, files, strict=True)]
        for folder in dict.fromkeys([Path(output), *(file.parent for file in files)]):
            _make_folder(folder)
    elif output is not None:
        files = [Path(output)] * len(checkpoints)
    if shared := sorted({str(file) for file in files if files.count(file) > 1}):
        raise UsageError(
            f"several checkpoints would be written to {listing(shared)}",
            fix=f"a folder for all: -o {output}/" if output else "measure them one by one with -o",
        )
    return [Target(*parts) for parts in zip(checkpoints, files, apply_labels(checkpoints, labels, named), strict=True)]


def _folders_inside(checkpoints: Sequence[Path], labels: Sequence[str]) -> list[Path]:
    """The folders, within the one for all, that tell checkpoints apart; none of them leads out of it."""
    folders = [Path(label).parent for label in labels]
    if any(folder.is_absolute() or ".." in folder.parts for folder in folders):
        whole = paths.short_names([os.path.abspath(checkpoint) for checkpoint in checkpoints])
        folders = [Path(name).parent for name in whole]
    return [folder.relative_to(folder.anchor) for folder in folders]


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
