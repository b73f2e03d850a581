"""Directories of torch.distributed.checkpoint made by hand, with any chunks, in torch's own classes."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

Chunk = tuple[tuple[int, ...], tuple[int, ...]]  # offsets and sizes


def rows(tensor: Tensor, count: int) -> list[Chunk]:
    """Chunks of rows, as FSDP makes them; the last may be smaller."""
    size = -(-tensor.shape[0] // count)
    begins = range(0, tensor.shape[0], size)
    rest = tuple(tensor.shape[1:])
    return [((b, *(0 for _ in rest)), (min(size, tensor.shape[0] - b), *rest)) for b in begins]


def write_sharded(
    folder: Path,
    tensors: Mapping[str, tuple[Tensor, Sequence[Chunk]]],
    planner: Mapping[str, tuple[Any, ...]] | None = None,
) -> Metadata:
    """Writes tensors in chunks over two files, and returns the metadata, which can be changed and written again."""
    folder.mkdir(exist_ok=True)
    names = ("__0_0.distcp", "__1_0.distcp")
    contents: dict[str, bytes] = dict.fromkeys(names, b"")
    state: dict[str, Any] = {"epoch": BytesStorageMetadata()}
    storage: dict[MetadataIndex, _StorageInfo] = {}
    for name, (tensor, chunks) in tensors.items():
        for number, (offsets, sizes) in enumerate(chunks):
            room = tuple(slice(begin, begin + size) for begin, size in zip(offsets, sizes, strict=True))
            saved, file = io.BytesIO(), names[number % 2]
            torch.save(tensor[room].contiguous().clone(), saved)
            index = MetadataIndex(name, torch.Size(offsets), number)
            storage[index] = _StorageInfo(file, len(contents[file]), len(saved.getvalue()))
            contents[file] += saved.getvalue()
        described = [ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)) for offsets, sizes in chunks]
        properties = TensorProperties(dtype=tensor.dtype)
        state[name] = TensorStorageMetadata(properties, tensor.size(), described)
    saved = io.BytesIO()
    torch.save(3, saved)
    storage[MetadataIndex("epoch")] = _StorageInfo(names[0], len(contents[names[0]]), len(saved.getvalue()))
    contents[names[0]] += saved.getvalue()
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    plan = {"epoch": ("epoch",), **{name: (name,) for name in tensors}, **(planner or {})}
    metadata = Metadata(state, planner_data=plan, storage_data=storage)
    write_metadata(folder, metadata)
    return metadata


def write_metadata(folder: Path, metadata: Any) -> None:
    """Writes the description of a directory."""
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
