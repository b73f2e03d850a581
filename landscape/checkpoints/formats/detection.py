"""All formats of checkpoints, and which of them a file or directory has, by its bytes and not by its name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from landscape.checkpoints.formats.contents import Contents
from landscape.checkpoints.formats.directories import (
    ADAPTER,
    ADAPTER_CONFIG,
    ADAPTER_FILE,
    CONFIG_FILE,
    HUGGING_FACE,
    INDEX_FILE,
    SHARDED,
    WEIGHTS_FILE,
)
from landscape.checkpoints.formats.distributed import DISTRIBUTED, METADATA
from landscape.checkpoints.formats.foreign import require_not_foreign
from landscape.checkpoints.formats.format import ZIP_SIGNATURE, Candidate, Format
from landscape.checkpoints.formats.numpy_format import NPY, NPZ
from landscape.checkpoints.formats.running_code import EXPORTED, TORCHSCRIPT
from landscape.checkpoints.formats.safetensors_format import SAFETENSORS
from landscape.checkpoints.formats.torch_format import PICKLE, TORCH_LEGACY, TORCH_ZIP
from landscape.errors import CheckpointError, listing
from landscape.storage import paths

# in the order of detection: a directory with a config.json is sharded too, and a legacy file begins as a pickle does
FORMATS = (
    HUGGING_FACE,
    SHARDED,
    ADAPTER,
    DISTRIBUTED,
    EXPORTED,
    TORCHSCRIPT,
    TORCH_ZIP,
    NPZ,
    SAFETENSORS,
    TORCH_LEGACY,
    NPY,
    PICKLE,
)

DIRECTORY_FILES = (WEIGHTS_FILE, INDEX_FILE, METADATA)  # of which a directory that is a checkpoint holds one
TORCH_INDEX_FILE = "pytorch_model.bin.index.json"
NO_WEIGHTS = ("optim", "scheduler", "scaler", "training_args", "rng_state", "random_states")  # in names of files
MAX_FOLDERS = 20  # of a directory that are looked into for an error's fix
MAX_LOOKED_AT = 1 << 24  # bytes of a file whose description is read at once: it takes milliseconds


def describe(path: Path) -> Contents:
    """The description of the checkpoint at a path, read as data.

    Raises CheckpointError for files that are no checkpoint, are damaged, or run code when they are opened.
    """
    return detect_format(path).describe(path)


def require_checkpoint(path: Path, *, trust: bool) -> None:
    """Raises CheckpointError if a short look tells that a path is no checkpoint, or runs code and is not trusted."""
    format = detect_format(path)
    if not trust and (path.is_dir() or path.stat().st_size <= MAX_LOOKED_AT):
        format.describe(path)


def detect_format(path: Path) -> Format:
    """The format of a file or a directory; raises CheckpointError that names what the file is instead."""
    candidate = Candidate(path)
    if not path.is_dir():
        require_not_foreign(candidate)
        _require_no_shard(path)
    for format in FORMATS:
        if format.detect(candidate):
            return format
    if path.is_dir():
        raise _unknown_directory(candidate)
    raise _unknown_zip(candidate) if candidate.head.startswith(ZIP_SIGNATURE) else _unknown_file(candidate)


def _require_no_shard(path: Path) -> None:
    """Raises CheckpointError for a file of a distributed checkpoint, which means nothing without the others."""
    if path.name == METADATA or (path.suffix == ".distcp" and (path.parent / METADATA).is_file()):
        raise CheckpointError(
            f"{path} is one file of a checkpoint of torch.distributed", fix=f"name its directory: {path.parent}"
        )


def _unknown_file(candidate: Candidate) -> CheckpointError:
    path = candidate.path
    if path.name in (CONFIG_FILE, INDEX_FILE) or path.name.endswith(".index.json"):
        return CheckpointError(f"{path} describes a checkpoint and is none", fix=f"name its directory: {path.parent}")
    return CheckpointError(
        f"{path} is not a checkpoint: it starts with {candidate.head[:8]!r}",
        fix="a file written by torch.save or safetensors",
    )


def _unknown_zip(candidate: Candidate) -> CheckpointError:
    path, inside = candidate.path, candidate.zip_members
    return CheckpointError(
        f"{path} is a zip archive that torch did not write: it holds {listing(sorted(inside)) or 'nothing'}",
        fix=f"unzip {path}, then name a checkpoint inside it",
    )


def _unknown_directory(candidate: Candidate) -> CheckpointError:
    path, names = candidate.path, candidate.folder_names
    if ADAPTER_CONFIG in names:
        return CheckpointError(
            f"{path} is a PEFT adapter without {ADAPTER_FILE}",
            fix="save it again: model.save_pretrained(DIR, safe_serialization=True)",
        )
    if "model_index.json" in names:
        parts = sorted(name for name in names if (path / name / CONFIG_FILE).is_file())
        return CheckpointError(
            f"{path} is a pipeline of several models", fix=f"name one of them: {listing(f'{path / p}' for p in parts)}"
        )
    if TORCH_INDEX_FILE in names:
        return CheckpointError(
            f"{path} holds its weights in several files of torch.save, of which {TORCH_INDEX_FILE} is the index",
            fix="save it again: model.save_pretrained(DIR, safe_serialization=True)",
        )
    return CheckpointError(
        f"{path} is a directory without {WEIGHTS_FILE}",
        fix=f"name a checkpoint inside it: {listing(inside)}"
        if (inside := _checkpoints_inside(path, names))
        else "name a checkpoint file",
    )


def _checkpoints_inside(path: Path, names: frozenset[str]) -> list[str]:
    """The checkpoints in a directory, or if there are none those in its folders; an optimizer's come last."""
    files = [path / name for name in names if name.endswith(paths.CHECKPOINTS)]
    folders = [path / name for name in names if (path / name).is_dir()]
    files += [folder for folder in folders if any((folder / name).exists() for name in DIRECTORY_FILES)]
    for folder in sorted(folders)[:MAX_FOLDERS] if not files else ():
        with suppress(PermissionError):
            files += [file for file in folder.iterdir() if file.name.endswith(paths.CHECKPOINTS)]
    return [str(file) for file in sorted(files, key=lambda file: (any(n in file.name for n in NO_WEIGHTS), file))]
