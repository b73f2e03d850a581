"""Every file that landscape writes: how it is named, and how it is recognized, by its name or by its content.

All writers take their names from here. Recognition by content also finds a file that was renamed. Needs no torch.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from landscape.errors import UsageError

FileKind = Literal[
    "results", "snapshot", "sidecar", "edited checkpoint", "undo file", "picture", "table", "report", "baseline",
    "lock", "temporary", "allocation",
]  # fmt: skip

RESULTS = ".landscape.h5"
EIGENVECTORS, FACTORS = "eig.safetensors", "factors.safetensors"  # sidecars that hold arrays too large for results
DIAGONAL, DIAGONAL_ERRORS = "diagonal.safetensors", "diagonal-errors.safetensors"
DIAGONAL_MASK = "diagonal-mask.safetensors"
ALLOCATION = "allocation.json"  # bits by layer, for a quantizer
EDITED = "edited"  # in the names of edited checkpoints
UNDO, UNDO_INSIDE = ".undo.safetensors", "landscape.undo"  # beside an edited file; inside an edited directory
SNAPSHOT = ".partial"
BASELINE = "landscape-baseline.json"
PICTURES = (".png", ".pdf", ".svg")
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")  # endings of checkpoints, which users write

SIDECARS = r"eig|factors|diagonal(?:-errors|-mask)?"
COMPANIONS = (  # of results
    r"[a-z0-9-]+\.(?:partial|png|pdf|svg|vts)|[a-z-]+(?:\.[a-z_]+)*\.csv|allocation\.json|"
    rf"(?:{SIDECARS}|edited|undo)(?:\.safetensors)?|png|csv"
)

MARK = "landscape_schema"  # attribute of results files, and entry of the metadata of snapshots and sidecars
EDIT_KEY, UNDO_KEY = "landscape_edit", "landscape_undo"  # entries of the metadata of edited checkpoints and undo files
PICTURE_MARK = "landscape run "  # begins the description inside every picture

NAMES: tuple[tuple[FileKind, str], ...] = (
    ("results", r".+\.landscape\.h5"),
    ("snapshot", r".+\.partial"),
    ("sidecar", rf".+\.({SIDECARS})\.safetensors"),
    ("undo file", r".+\.undo\.safetensors|landscape\.undo"),
    ("edited checkpoint", r".+\.edited(\.safetensors)?"),
    ("baseline", r"landscape-baseline\.json"),
    ("allocation", r".+\.allocation\.json"),
    ("lock", r"\..+\.lock(\.\d+)?(\.stale)?"),
    ("temporary", r"\..+\.\d+\.(tmp|old)|\.landscape-doctor-\d+\.h5"),
)  # patterns of whole names
TEXTS: tuple[tuple[FileKind, bytes], ...] = (
    ("picture", rb"landscape run [0-9a-f]"),
    (
        "table",
        rb"\Aalpha,(beta,)?loss\b|\Astep,checkpoint,trouble\b|\Aanalysis,[a-z0-9_,]+\n[a-z-]+,"
        rb"|<VTKFile type=\"StructuredGrid\"[^\0]*<PointData Scalars=\"loss\">",
    ),
    ("allocation", rb"\A\{\s*\"landscape\": \"allocation\","),
    ("baseline", rb"\A\{\s*\"kind\": \"[a-z-]+\",\s*\"schema\": \d+,\s*\"checkpoints\": "),
    (
        "report",
        rb"\A\[?\{\"schema\": \d+, \"(kind|analysis)\": |<testsuite name=\"landscape check|\A### landscape check:"
        rb"|<meta name=\"generator\" content=\"landscape report ",
    ),
    ("lock", rb"\A\{\"pid\": \d+, \"host\": "),
)  # patterns that occur in the first or the last bytes of files without a container format
ILLEGAL_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # of files, on Windows
EXCERPT = 8192  # bytes at either end of a file: matplotlib describes a PNG or SVG at the beginning, a PDF at the end
MARK_WITHIN = 1 << 26  # bytes of an HDF5 file in which the mark is looked for; results files are smaller
HDF5 = b"\x89HDF\r\n\x1a\n"


# -- names ---------------------------------------------------------------------------------------------------------


def results_file(checkpoint: Path, kind: str = "") -> Path:
    """The default results file of a checkpoint: `ckpt.landscape.h5`, or `ckpt.check.landscape.h5` of kind `.check`."""
    base = checkpoint.name if checkpoint.is_dir() else checkpoint.stem
    return checkpoint.with_name(f"{base}{kind}{RESULTS}")


def stem(results: Path) -> str:
    """The name of a results file without its ending: `run` of `run.landscape.h5`."""
    return results.name.removesuffix(RESULTS).removesuffix(".h5")


def beside(results: Path, suffix: str) -> Path:
    """A companion of a results file: `run.landscape.h5` and `eig.png` give `run.eig.png`."""
    return results.with_name(f"{stem(results)}.{suffix}")


def snapshot_file(results: Path, analysis: str) -> Path:
    """The unfinished work of an analysis: `run.eig.partial`."""
    return beside(results, f"{analysis}{SNAPSHOT}")


def picture_file(results: Path, analysis: str, *, form: str = "", ending: str = PICTURES[0]) -> Path:
    """The default picture of a result: `run.surface.png`, or `run.surface-solid.png` or of a part."""
    return beside(results, f"{analysis}-{_in_names(form)}{ending}" if form else f"{analysis}{ending}")


def _in_names(text: str) -> str:
    """A text as part of a file's name: letters, digits and hyphens."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")


def history_file(run: Path) -> Path:
    """The default history of a run, in its folder: `track.landscape.h5`."""
    return run / f"track{RESULTS}"


def history_of_several(folder: Path, run: str) -> Path:
    """The history of one of several runs in a folder for all: `sgd/run` gives `sgd-run.landscape.h5`.

    Letters that names of files cannot have on Windows are hyphens, so that results can be copied there.
    """
    return folder / f"{ILLEGAL_IN_NAMES.sub('-', run)}{RESULTS}"


def names_folder(output: str) -> bool:
    """Whether a text names a folder: one that is there, or one to be made, by the separator at its end."""
    return output.endswith(tuple(filter(None, (os.sep, os.altsep)))) or os.path.isdir(output)


def from_here(path: Path) -> Path:
    """The path from the working directory, if it is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def picture_of_history(history: Path, *, part: str = "", ending: str = PICTURES[0]) -> Path:
    """The default picture of a run's history: `track.png` of `track.landscape.h5`, or `track-loss.png` of one panel."""
    return history.with_name(f"{stem(history)}{f'-{_in_names(part)}' if part else ''}{ending}")


def common_folder(files: Sequence[Path]) -> Path:
    """The folder in which all files are, at any depth."""
    parents = [file.absolute().parent.parts for file in files]
    shared = [parts[0] for parts in zip(*parents, strict=False) if len(set(parts)) == 1]
    return Path(*shared)


def edited_checkpoint(results: Path, *, directory: bool) -> Path:
    """The edited checkpoint beside results: `run.edited.safetensors`, or the directory `run.edited`."""
    return beside(results, EDITED if directory else f"{EDITED}.safetensors")


def undo_file(edited: Path) -> Path:
    """The undo file of an edited file, beside it, or of an edited directory, inside it."""
    return edited / UNDO_INSIDE if edited.is_dir() else undo_beside(edited)


def undo_beside(edited: Path) -> Path:
    """The undo file of an edited file, which need not exist."""
    return edited.with_name(edited.name.removesuffix(".safetensors") + UNDO)


def lock_file(results: Path) -> Path:
    """The lock of a results file while a process measures into it."""
    return results.with_name(f".{results.name}.lock")


def own_lock_file(lock: Path) -> Path:
    """This process' lock before it is linked into its place."""
    return lock.with_name(f"{lock.name}.{os.getpid()}")


def stale_lock_file(lock: Path) -> Path:
    """The lock of a dead process that this process removes."""
    return lock.with_name(f"{lock.name}.{os.getpid()}.stale")


def temporary_file(path: Path) -> Path:
    """The draft of a file or directory, beside its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def drafts_of(path: Path) -> re.Pattern[str]:
    """The names of the drafts of one file, with the number of the process as a group."""
    return re.compile(rf"\.{re.escape(path.name)}\.(\d{{1,10}})\.tmp")


def drafts_of_results(results: Path) -> re.Pattern[str]:
    """The names of the drafts of a results file and of its companions, with the number of the process as a group."""
    names = rf"{re.escape(results.name)}|{re.escape(stem(results))}\.(?:{COMPANIONS})"
    return re.compile(rf"\.(?:{names})\.(\d{{1,10}})\.tmp")


def older_version(path: Path) -> Path:
    """The older directory that a new one replaces, until the new one stands in its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.old")


def trial_file(folder: Path) -> Path:
    """The file that `landscape doctor` writes and removes to see whether a folder is writable."""
    return folder / f".landscape-doctor-{os.getpid()}.h5"


# -- recognition ---------------------------------------------------------------------------------------------------


def is_ours(path: Path) -> bool:
    """Whether landscape wrote the file, or the directory of an edited checkpoint, as its name or its content shows."""
    return file_kind(path) is not None


def file_kind(path: Path) -> FileKind | None:
    """The kind of file that landscape wrote at the path, by its name or its content; None for files of others."""
    return _kind_by_name(path.name) or file_kind_by_content(path)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5)) == HDF5
    except OSError:
        return False


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file; empty for other files."""
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def _kind_by_name(name: str) -> FileKind | None:
    return next((kind for kind, pattern in NAMES if re.fullmatch(pattern, name)), None)


def file_kind_by_content(path: Path) -> FileKind | None:
    """The kind of file that landscape wrote, by its content alone; None for files of others."""
    try:
        if path.is_dir():
            return "edited checkpoint" if _is_edited(path) else None
        if not path.is_file():  # opening a pipe would wait for its writer
            return None
        head, tail = _excerpts(path)
    except OSError:
        return None
    if head.startswith(HDF5):
        return "results" if _is_results(path) else None
    if head[8:9] == b"{":  # behind the length of a safetensors header
        return _kind_by_metadata(safetensors_metadata(path))
    return next((kind for kind, pattern in TEXTS if re.search(pattern, head) or re.search(pattern, tail)), None)


def _excerpts(path: Path) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file."""
    with path.open("rb") as file:
        head = file.read(EXCERPT)
        file.seek(max(path.stat().st_size - EXCERPT, 0))
        return head, file.read(EXCERPT)


def _kind_by_metadata(metadata: dict[str, str]) -> FileKind | None:
    for key, kind in ((UNDO_KEY, "undo file"), (EDIT_KEY, "edited checkpoint")):
        if key in metadata:
            return kind  # type: ignore[return-value]
    if {"fingerprint", "analysis"} <= metadata.keys():
        return "sidecar"
    if MARK in metadata or {"fingerprint", "loss", "seconds"} <= metadata.keys():  # the latter before there was a mark
        return "snapshot"
    return None


def _is_edited(directory: Path) -> bool:
    """Whether a directory is an edited checkpoint: it has an undo file, or one of its shards is marked."""
    shards = (entry for entry in directory.iterdir() if entry.name.endswith(".safetensors") and entry.is_file())
    return (directory / UNDO_INSIDE).is_file() or any(EDIT_KEY in safetensors_metadata(shard) for shard in shards)


def _is_results(path: Path) -> bool:
    """Whether an HDF5 file has the mark among its bytes; HDF5 itself is not asked, which may loop on damaged files."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(MARK.encode(), 0, MARK_WITHIN) >= 0


def short_names(names: Sequence[str]) -> list[str]:
    """Short names of checkpoints: their files' names, after as many folders as tell them apart.

    They are the same in another clone or on another machine. Raises UsageError if a checkpoint is named twice.
    """
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice", fix="name each checkpoint once")
    parts = [Path(name).parts or (name,) for name in names]
    for length in range(1, max(map(len, parts), default=0) + 1):
        found = ["/".join(part[-length:]) for part in parts]
        if len(set(found)) == len(found):
            break
    return found if parts else []


def natural_order(path: Path) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their values: `epoch_2` before `epoch_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]
