"""Files that appear whole or not at all: written under a temporary name beside their place, then renamed into it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from landscape.errors import OutputError, safe_excerpt
from landscape.storage import paths
from landscape.storage.drafts import remove_stale_drafts
from landscape.storage.write_errors import writing_remedy

LONGEST_PATH = 1000  # letters of a path in a message, so that the reason after it is seen
PAUSES = (0.01, 0.03, 0.1, 0.3)  # seconds: virus scanners and indexers of Windows hold a new file for about so long


def replace_file(path: Path, *pieces: bytes | memoryview | Callable[[], memoryview]) -> None:
    """Writes a file of these pieces, in their order; its earlier content stays until the new one is on the disk.

    A function is called when its piece is written. A crash leaves one of the two contents.

    Raises OutputError if the file cannot be written.
    """
    path = resolve(path)  # a link stays a link
    temporary = paths.temporary_file(path)
    try:
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece() if callable(piece) else piece)
            file.flush()
            os.fsync(file.fileno())
        rename_over(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written: {error.strerror}",
            why="what was there before is untouched" if path.exists() else "",
            fix=f"{writing_remedy(error, path.parent)}, or write elsewhere with -o FILE",
        ) from error
    except BaseException:  # a signal
        temporary.unlink(missing_ok=True)
        raise


def rename_over(draft: Path, target: Path) -> None:
    """Renames a file, in the place of an older one; on Windows again after a short while if another program has it."""
    for pause in PAUSES if platform.system() == "Windows" else ():
        try:
            draft.replace(target)
            return
        except PermissionError:
            time.sleep(pause)
    draft.replace(target)


def resolve(path: Path) -> Path:
    """The path without links; raises OutputError for links in a circle, and for names that no file can have."""
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{safe_excerpt(path, LONGEST_PATH)} cannot be written: {getattr(error, 'strerror', error)}",
            fix="write elsewhere with -o FILE",
        ) from error
    return path.resolve()


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that is removed afterwards; an OSError in the block is raised as OutputError."""
    remove_stale_drafts(target.parent, paths.drafts_of(target))
    folder = paths.temporary_file(target)
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror}",
            why="what was there before is untouched" if os.path.lexists(target) else "",
            fix=f"{writing_remedy(error, target.parent)}, or write elsewhere",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_new_file(path: Path, pieces: Iterable[bytes | memoryview]) -> str:
    """Writes a new file, which is on the disk when this returns, and returns the sha256 of its content."""
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def move_files(folder: Path, targets: Mapping[str, Path]) -> None:
    """Renames drafts to their targets, in this order; all targets are in the folder that holds the draft folder."""
    for name, target in targets.items():
        rename_over(folder / name, target)
    sync_directory(folder.parent)


def move_folder(folder: Path, target: Path) -> None:
    """Renames a draft folder to its target; an older folder there is kept until the rename has succeeded."""
    sync_directory(folder)
    if not target.exists():
        folder.rename(target)
    else:
        older = target.rename(paths.older_version(target))
        try:
            folder.rename(target)
        except OSError:
            older.rename(target)
            raise
        shutil.rmtree(older)
    sync_directory(target.parent)


def sync_directory(folder: Path) -> None:
    """Puts the names in a folder on the disk, as fsync puts the bytes of a file."""
    if platform.system() == "Windows":  # directories cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
