"""What files are called: by `--label NAME=PATH`, else by the shortest paths that tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from landscape.errors import UsageError, listing


def apply_labels(files: Sequence[Path], usual: Sequence[str], named: Sequence[str]) -> list[str]:
    """The labels of all files: those that are named as NAME=PATH, for the others the usual ones.

    Raises UsageError for a label without a name, of a file that is not there, or for two files.
    """
    pairs = [text.partition("=")[::2] for text in named]
    paths = {Path(path): name for name, path in pairs}
    wrong = [text for text, (name, path) in zip(named, pairs, strict=True) if not name or Path(path) not in files]
    if wrong:
        raise UsageError(f"--label {wrong[0]} names no file of this command", fix="--label NAME=PATH")
    labels = [paths.get(file, label) for file, label in zip(files, usual, strict=True)]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise UsageError(f"several files are called {listing(twice)}", fix="a label of its own for each")
    return labels
