"""The results that a page is made of: files, folders of files, and checkpoints with results beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landscape.errors import LandscapeError, UsageError
from landscape.history import History
from landscape.session import Results, read
from landscape.side_by_side import results_beside
from landscape.storage import paths


@dataclass(frozen=True)
class Unread:
    """A file that could not be read, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ReportSources:
    """What was read, what was not, the files with unfinished work beside them, and the histories of runs."""

    results: tuple[Results, ...]
    unread: tuple[Unread, ...] = ()
    unfinished: tuple[Path, ...] = ()
    histories: tuple[tuple[Path, History], ...] = ()


def read_sources(named: Sequence[str | Path]) -> ReportSources:
    """The results of all files that are named, lie below a named folder, or beside a named checkpoint, each once.

    A file that cannot be read is among `unread`. Raises UsageError for a folder without results, and the first file's
    error if none can be read.
    """
    if not named:
        raise UsageError("no results are named", fix="landscape report RUN.landscape.h5, or a folder that holds some")
    found: list[Path] = []
    unread: list[Unread] = []
    unfinished: list[Path] = []
    errors: list[LandscapeError] = []
    for path in map(Path, named):
        try:
            files = results_at(path)
        except LandscapeError as error:
            errors.append(error)
            unread.append(Unread(str(path), str(error)))
            continue
        found += [file for file in files if file.resolve() not in {one.resolve() for one in found}]
    results: list[Results] = []
    histories: list[tuple[Path, History]] = []
    for file in found:
        try:
            one = read(file)
            if isinstance(one, History):
                histories.append((file, one))
            else:
                results.append(one)
        except LandscapeError as error:
            errors.append(error)
            unread.append(Unread(str(file), str(error)))
        unfinished += work_in_progress(file)
    if not (results or histories):
        raise errors[0]
    return ReportSources(tuple(results), tuple(unread), tuple(unfinished), tuple(histories))


def results_at(path: Path) -> list[Path]:
    """The results files that a path stands for, in natural order; raises UsageError if there are none."""
    if path.is_dir():
        files = [file for file in path.rglob(f"*{paths.RESULTS}") if not file.name.startswith(".") and file.is_file()]
        if files:
            return sorted(files, key=paths.natural_order)
        beside = paths.results_file(path.resolve())  # of the folder of a checkpoint; "." has no name of its own
        return [beside] if beside.exists() else _nothing_in(path)
    return [results_beside(path)]


def _nothing_in(folder: Path) -> list[Path]:
    raise UsageError(f"{folder} holds no results", fix=f"landscape eig CKPT -o {folder}/")


def work_in_progress(results: Path) -> list[Path]:
    """The snapshots of interrupted measurements beside a results file."""
    start = f"{paths.stem(results)}."
    files = [one for one in results.parent.iterdir() if one.name.startswith(start) and one.suffix == paths.SNAPSHOT]
    return sorted(files, key=paths.natural_order)
