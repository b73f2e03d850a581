"""What results and runs are called: the shortest ends of paths that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape.history import History
from landscape.storage import paths


def labels_of_files(files: Sequence[Path]) -> list[str]:
    """What results files are called: the shortest ends of their paths that tell them apart."""
    return [name.removesuffix(paths.RESULTS) for name in paths.short_names([str(file) for file in files])]


def labels_of_runs(histories: Sequence[Any], files: Sequence[Path]) -> list[str]:
    """What runs are called: the shortest ends of the paths of their folders that tell them apart."""
    folders = [one.run if isinstance(one, History) else str(file) for one, file in zip(histories, files, strict=True)]
    if len(set(folders)) == len(folders):
        return paths.short_names([str(Path(folder).absolute()) for folder in folders])
    return labels_of_files(files)
