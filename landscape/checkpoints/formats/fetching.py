"""Reads tensors from the files that a description names; every byte of a zip archive is checked."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from landscape.checkpoints.formats import archive
from landscape.checkpoints.formats.contents import Contents, Place
from landscape.checkpoints.formats.tensor_refs import Storage, TensorRef
from landscape.errors import CheckpointError

READERS = 4  # threads: a copy and a checksum each run at memory speed, outside the interpreter's lock
PIECE_BYTES = 1 << 24  # copied and summed at once: they stay inside the processor's cache


def fetch_storages(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors of a file of torch by name; each storage is read once.

    Raises CheckpointError for truncated files and wrong checksums.
    """
    storages = {ref.storage.key: ref.storage for ref in refs.values()}
    with ThreadPoolExecutor(READERS) as pool:
        loaded = pool.map(lambda storage: _read_storage(storage, contents.places[storage.key]), storages.values())
        raw = dict(zip(storages, loaded, strict=True))
    return {name: _view(ref, raw[ref.storage.key]) for name, ref in refs.items()}


def fetch_from_shards(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors of safetensors files by name; raises CheckpointError for a damaged file."""
    names = {ref.storage.key: name for name, ref in refs.items()}  # in the files, and wanted
    tensors: dict[str, Tensor] = {}
    for shard in sorted({contents.places[key].file for key in names}):
        try:
            with safe_open(shard, framework="pt") as file:
                inside = [key for key in names if contents.places[key].file == shard]
                tensors |= {names[key]: file.get_tensor(key) for key in inside}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{shard} is a damaged safetensors file: {error}", fix="copy it again") from error
    return {name: tensors[name] for name in names.values()}


def _read_storage(storage: Storage, place: Place) -> Tensor:
    """The bytes of a storage `(nbytes,)`, checked if the file has a checksum of them."""
    member = place.member
    if member and member.size != storage.nbytes:
        raise CheckpointError(
            f"{place.file} is damaged: {member.name} has {member.size} bytes, not {storage.nbytes}",
            fix="copy or save it again",
        )
    raw = torch.empty(storage.nbytes, dtype=torch.uint8)
    room, checksum = raw.numpy().data, 0
    with place.file.open("rb", buffering=0) as file:
        file.seek(archive.content_offset(file, member, place.file) if member else place.begin)
        for begin in range(0, storage.nbytes, PIECE_BYTES):
            piece = room[begin : begin + PIECE_BYTES]
            if file.readinto(piece) != len(piece):
                raise CheckpointError(f"{place.file} is truncated", fix="copy it again")
            checksum = zlib.crc32(piece, checksum) if member else 0
    if member:
        archive.require_crc(place.file, member, checksum)
    return raw


def _view(ref: TensorRef, raw: Tensor) -> Tensor:
    """The tensor as a strided view of its storage's bytes."""
    return raw.view(getattr(torch, ref.dtype)).as_strided(ref.shape, ref.stride, ref.offset)
