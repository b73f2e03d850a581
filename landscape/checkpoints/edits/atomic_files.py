"""Files that appear all together or not at all: drafted in a folder beside their place, then renamed into it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from landscape.errors import OutputError
from landscape.storage import paths
from landscape.storage.results import sync_directory


@contextmanager
def drafted(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, removed afterwards; an OSError meanwhile is raised as OutputError."""
    folder = paths.temporary_file(target)
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror}",
            why="what was there before is untouched" if os.path.lexists(target) else "",
            fix="free some space, or write elsewhere",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fill(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    """Writes a new file, on the disk when this returns; the sha256 of what was written."""
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def settle_files(folder: Path, places: Mapping[str, Path]) -> None:
    """Renames drafted files, in this order, to their places, which are in the folder's own."""
    for name, place in places.items():
        (folder / name).replace(place)
    sync_directory(folder.parent)


def settle_folder(folder: Path, target: Path) -> None:
    """Renames the folder of drafts; an older folder in its place is put aside first and back if that fails."""
    sync_directory(folder)
    if not target.exists():
        folder.rename(target)
    else:
        aside = target.rename(paths.older_version(target))
        try:
            folder.rename(target)
        except OSError:
            aside.rename(target)
            raise
        shutil.rmtree(aside)
    sync_directory(target.parent)
