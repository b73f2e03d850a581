"""Reads tensors from the files that a description names; every byte of a zip archive is checked."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from landscape.checkpoints.formats import archive
from landscape.checkpoints.formats.contents import Contents, Place, Shard
from landscape.checkpoints.formats.tensor_refs import Storage, TensorRef
from landscape.checkpoints.formats.torch_format import describe_shard
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


def fetch_shards(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors of a distributed checkpoint by name, put together from their chunks.

    Raises CheckpointError for chunks that are damaged or are not what the description says.
    """
    return {name: _assemble(ref, contents.places[ref.storage.key].shards) for name, ref in refs.items()}


def _assemble(ref: TensorRef, shards: Sequence[Shard]) -> Tensor:
    """A tensor from chunks that cover it exactly."""
    if len(shards) == 1:
        return _read_shard(shards[0], ref.dtype)
    whole = torch.empty(ref.shape, dtype=getattr(torch, ref.dtype))
    for shard in shards:
        room = tuple(slice(begin, begin + size) for begin, size in zip(shard.offsets, shard.shape, strict=True))
        whole[room] = _read_shard(shard, ref.dtype)
    return whole


def _read_shard(shard: Shard, dtype: str) -> Tensor:
    """One chunk: the only tensor in an archive that torch.save wrote."""
    ref, place = describe_shard(shard.part)
    if (ref.shape, ref.dtype) != (shard.shape, dtype):
        raise CheckpointError(
            f"{shard.part} holds {ref.dtype} {ref.shape} in the place of {dtype} {shard.shape}", fix="copy it again"
        )
    return _view(ref, _read_storage(ref.storage, place))


def _read_storage(storage: Storage, place: Place) -> Tensor:
    """The bytes of a storage `(nbytes,)`, checked if the file has a checksum of them."""
    if place.content is not None:
        return torch.frombuffer(bytearray(place.content or b"0"), dtype=torch.uint8)[: storage.nbytes]
    member = place.member
    if member and member.size != place.begin + storage.nbytes:
        raise CheckpointError(
            f"{place.file} is damaged: {member.name} has {member.size} bytes, not {place.begin + storage.nbytes}",
            fix="copy or save it again",
        )
    raw = torch.empty(storage.nbytes, dtype=torch.uint8)
    room = raw.numpy().data
    file: Any  # without a buffer, which would copy the bytes once more
    with place.source.open("rb", buffering=0) as file:
        if place.text:
            _decode_into(room, file, place)
            return raw
        start = archive.content_offset(file, member, place.source) if member else place.begin
        file.seek(start)
        checksum = zlib.crc32(file.read(place.begin)) if member else 0  # of what stands before the array in its member
        for begin in range(0, storage.nbytes, PIECE_BYTES):
            piece = room[begin : begin + PIECE_BYTES]
            if file.readinto(piece) != len(piece):
                raise CheckpointError(f"{place.file} is truncated", fix="copy it again")
            checksum = zlib.crc32(piece, checksum) if member else 0
    if member:
        archive.require_crc(place.source, member, checksum)
    return raw


def _decode_into(room: memoryview, file: BinaryIO, place: Place) -> None:
    """Fills the room with the bytes that a text of code points below 256 stands for; raises CheckpointError if it ends.

    Pickles of protocol 2 hold bytes so.
    """
    decoder, begin, left = codecs.getincrementaldecoder("utf-8")(), 0, place.text
    file.seek(place.begin)
    try:
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            decoded = decoder.decode(piece).encode("latin-1")
            room[begin : begin + len(decoded)] = decoded
            begin += len(decoded)
    except ValueError:  # no such text, or more of it than there is room for
        begin = -1
    if left or begin != len(room):
        raise CheckpointError(f"{place.file} is damaged: the bytes of an array are not all there", fix="copy it again")


def _view(ref: TensorRef, raw: Tensor) -> Tensor:
    """The tensor as a strided view of its storage's bytes."""
    return raw.view(getattr(torch, ref.dtype)).as_strided(ref.shape, ref.stride, ref.offset)
