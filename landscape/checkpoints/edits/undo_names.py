"""Where the undo file of an edited checkpoint is; needs nothing else."""

from __future__ import annotations

from pathlib import Path

SUFFIX, INSIDE = ".undo.safetensors", "landscape.undo"


def undo_file(edited: Path) -> Path:
    """Where the undo file of an edited file or directory is."""
    return edited / INSIDE if edited.is_dir() else beside(edited)


def beside(edited: Path) -> Path:
    """Where the undo file of an edited file is."""
    return edited.with_name(edited.name.removesuffix(".safetensors") + SUFFIX)
