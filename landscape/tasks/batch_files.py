"""Batches kept in a file: `.safetensors`, `.npz` or `.pt`, read as data."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from landscape.checkpoints import reading
from landscape.checkpoints.formats.detection import describe
from landscape.checkpoints.formats.pickle_values import holds_objects
from landscape.compute import memory
from landscape.data.items import PAIR_NAMES
from landscape.errors import CheckpointError, TaskError, listing

EXPECTED_CONTENT = (
    f"tensors called {' and '.join(PAIR_NAMES[0])}, or a model's arguments by name, with labels; "
    + "samples along the first axis"
)


def read_batch_file(path: Path) -> Any:
    """Reads the content of a file as data: one batch, or in a `.pt` file also a list of batches.

    Raises TaskError, with the remedy, for a file that holds no batch.
    """
    if not path.is_file():
        raise TaskError(f"there is no file {path}", fix="check the path of --data")
    readers = {".npz": _npz, ".safetensors": _safetensors, ".pt": _torch}
    content = readers[path.suffix](path)
    if isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        raise TaskError(
            f"{path} holds no tensors, only: {listing(map(str, content)) or 'nothing'}", fix=EXPECTED_CONTENT
        )
    return content


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        _require_room(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
    except TaskError:
        raise
    except Exception as error:  # on damaged bytes zipfile, zlib and NumPy may raise anything
        raise TaskError(
            f"{path} is no npz file of plain arrays: {type(error).__name__}: {error}",
            fix="np.savez(path, inputs=x, targets=y), with numbers in this machine's byte order",
        ) from error


def _require_room(path: Path) -> None:
    """Raises TaskError if the arrays would not fit into memory: a compressed file of a kilobyte may claim gigabytes."""
    with zipfile.ZipFile(path) as file:
        claimed = sum(entry.file_size for entry in file.infolist())
    if claimed > memory.free_bytes(torch.device("cpu")):
        raise TaskError(f"{path} claims arrays of {claimed:,} bytes, more than is free", fix="measure on fewer samples")


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise TaskError(
            f"{path} is no safetensors file: {error}", fix="write it with safetensors.torch.save_file"
        ) from error


def _torch(path: Path) -> Any:
    try:
        contents = describe(path)
    except CheckpointError as error:
        raise TaskError(error.what, why=error.why, fix=f"torch.save a batch: {EXPECTED_CONTENT}") from error
    if not contents.format.keeps_tree:
        raise CheckpointError(
            f"{path} is {contents.format.name}, not a batch", fix=f"torch.save it: {EXPECTED_CONTENT}"
        )
    if holds_objects(contents.tree):
        raise TaskError(
            f"{path} holds Python objects besides tensors: {listing(contents.bystanders)}",
            why="a file is opened as data only, and such objects are not made",
            fix=f"torch.save a batch of tensors alone: {EXPECTED_CONTENT}",
        )
    return reading.fetch_tree(contents, contents.tree)
