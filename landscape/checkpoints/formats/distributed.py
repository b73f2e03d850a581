"""Directories of torch.distributed.checkpoint (DCP), read as data: `.metadata` is a pickle of torch's own classes.

It tells of every tensor its size, and of every chunk of it where it lies in the directory's files; each chunk is a zip
archive as torch.save writes it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from itertools import combinations
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.checkpoints.formats.contents import Contents, Place, Shard, file_stamps
from landscape.checkpoints.formats.directories import is_file_name
from landscape.checkpoints.formats.format import Format, description_allowance
from landscape.checkpoints.formats.parts import Part
from landscape.checkpoints.formats.pickle_values import GlobalName, OpaqueValue
from landscape.checkpoints.formats.safetensors_format import require_inside
from landscape.checkpoints.formats.tensor_refs import (
    ITEMSIZE,
    MAX_DIMENSIONS,
    DamageError,
    Storage,
    TensorRef,
    are_counts,
    contiguous_strides,
)
from landscape.checkpoints.formats.torch_format import interpret_in
from landscape.errors import CheckpointError, safe_excerpt

if TYPE_CHECKING:
    from torch import Tensor

METADATA = ".metadata"
MAX_UNEVEN_CHUNKS = 64  # of one tensor, beyond which they must lie in a grid
MAX_PATH = 20  # keys that lead to a tensor
SAVE = "save it again with torch.distributed.checkpoint.save"


def describe_shards(path: Path) -> Contents:
    """The description of a directory; raises CheckpointError if it is damaged, incomplete or leads out of itself."""
    metadata = path / METADATA
    require_inside(metadata, path)
    if not metadata.is_file() or not metadata.stat().st_size:
        raise CheckpointError(f"{path} is damaged: its {METADATA} is empty or no file", fix=SAVE)
    total = sum(entry.stat().st_size for entry in path.iterdir() if entry.is_file())
    with metadata.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        pickle = interpret_in(metadata, view, description_allowance(total))
    try:
        described = fields_of(pickle.tree, "Metadata")
        shards = _shards(path, described.get("storage_data"))
        tensors = dict(_tensors(described.get("state_dict_metadata"), shards))
        tree = _as_tree({name: ref for name, (ref, _) in tensors.items()}, described.get("planner_data"))
    except DamageError as error:
        raise CheckpointError(
            f"{path} is damaged: its {METADATA} has {error}", fix=f"copy it again, or {SAVE}"
        ) from None
    places = {name: Place(path, shards=found) for name, (_, found) in tensors.items()}
    files = sorted({metadata, *(shard.part.file for _, found in tensors.values() for shard in found)})
    _require_shards(path, places)
    return Contents(path, DISTRIBUTED, tuple(files), tree, places, None, (), file_stamps(tuple(files)))


def fields_of(value: Any, kind: str) -> Mapping[Any, Any]:
    """The fields of a placeholder of a dataclass of torch's; raises DamageError if it is none of that name."""
    named = isinstance(value, OpaqueValue) and value.kind.startswith("torch.distributed.checkpoint.")
    if not (named and value.kind.rpartition(".")[2] == kind and isinstance(value.state, dict)):
        raise DamageError(f"something else in the place of {kind}: {safe_excerpt(getattr(value, 'kind', value))}")
    state: dict[Any, Any] = value.state
    return state


def _shards(path: Path, storage: Any) -> dict[tuple[str, Any], Part]:
    """Where each chunk of each tensor is, by name and offsets; raises DamageError for places that cannot be."""
    found: dict[tuple[str, Any], Part] = {}
    begin: Any
    size: Any
    for key, value in storage.items() if isinstance(storage, dict) else ():
        index, about = fields_of(key, "MetadataIndex"), fields_of(value, "_StorageInfo")
        name, offsets = index.get("fqn"), index.get("offset")
        file, begin, size = about.get("relative_path"), about.get("offset"), about.get("length")
        if not (isinstance(name, str) and isinstance(offsets, tuple | None) and are_counts(begin, size)):
            raise DamageError("chunks without a name or a place")
        if not (isinstance(file, str) and is_file_name(file)):
            raise DamageError(f"a file that cannot be in its directory: {safe_excerpt(file)}")
        if about.get("transform_descriptors"):
            raise DamageError(f"chunks in a form of their own: {safe_excerpt(about['transform_descriptors'])}")
        found[name, offsets] = Part(path / file, begin, size)
    return found


def _tensors(
    described: Any, parts: Mapping[tuple[str, Any], Part]
) -> Iterator[tuple[str, tuple[TensorRef, tuple[Shard, ...]]]]:
    """Every tensor by name, with its chunks; raises DamageError if they do not make it up."""
    for name, value in described.items() if isinstance(described, dict) else ():
        if not isinstance(name, str) or not isinstance(value, OpaqueValue):
            raise DamageError("tensors without a name")
        if value.kind.endswith(".BytesStorageMetadata"):  # numbers and texts beside the tensors: not needed
            continue
        about = fields_of(value, "TensorStorageMetadata")
        shape, dtype, chunks = shape_of(about.get("size")), _dtype(about.get("properties")), about.get("chunks")
        found = tuple(_chunk(name, fields_of(c, "ChunkStorageMetadata"), dtype, parts) for c in list_of(chunks))
        found = tuple(shard for shard in found if prod(shard.shape))
        require_tiling(shape, [(shard.offsets, shard.shape) for shard in found], name)
        storage = Storage(name, dtype, prod(shape))
        yield name, (TensorRef(storage, dtype, 0, shape, contiguous_strides(shape)), found)


def _chunk(name: str, about: Mapping[Any, Any], dtype: str, parts: Mapping[tuple[str, Any], Part]) -> Shard:
    """One chunk of a tensor; raises DamageError if it is stored nowhere, or in fewer bytes than it has."""
    offsets, shape = shape_of(about.get("offsets")), shape_of(about.get("sizes"))
    part = parts.get((name, offsets)) or parts.get((name, None))
    if part is None:
        raise DamageError(f"no place for a chunk of {safe_excerpt(name)}")
    if prod(shape) * ITEMSIZE[dtype] > part.size:
        raise DamageError(f"a chunk of {safe_excerpt(name)} that is larger than its bytes")
    return Shard(part, offsets, shape)


def list_of(value: Any) -> list[Any]:
    """The value, if it is a list; raises DamageError otherwise."""
    if not isinstance(value, list):
        raise DamageError("no list of chunks")
    return value


def shape_of(value: Any) -> tuple[int, ...]:
    """The value, if it is a tuple of sizes; raises DamageError otherwise."""
    if not (isinstance(value, tuple) and len(value) <= MAX_DIMENSIONS and are_counts(*value, prod(value))):
        raise DamageError("sizes that are no counts")
    return value


def require_tiling(shape: tuple[int, ...], chunks: list[tuple[tuple[int, ...], tuple[int, ...]]], name: str) -> None:
    """Raises DamageError unless the chunks, each of offsets and sizes, cover a shape exactly, each place once."""
    whole = all(len(part) == len(shape) for chunk in chunks for part in chunk)
    inside = whole and all(o + s <= size for chunk in chunks for o, s, size in zip(*chunk, shape, strict=True))
    if not inside or sum(prod(sizes) for _, sizes in chunks) != prod(shape):
        raise DamageError(f"chunks that are not all of {safe_excerpt(name)}")
    if len(chunks) < 2 or _is_grid(shape, chunks):
        return
    if len(chunks) > MAX_UNEVEN_CHUNKS:
        raise DamageError(f"{len(chunks)} chunks of {safe_excerpt(name)} that lie in no grid")
    if any(_overlap(*pair) for pair in combinations(chunks, 2)):
        raise DamageError(f"chunks of {safe_excerpt(name)} that lie over one another")


def _is_grid(shape: tuple[int, ...], chunks: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> bool:
    """Whether the chunks are the cells of a grid, each once."""
    cuts = [sorted({offsets[axis] for offsets, _ in chunks}) for axis in range(len(shape))]
    ends = [dict(zip(cut, [*cut[1:], size], strict=True)) for cut, size in zip(cuts, shape, strict=True)]
    cells = all(offset + size == end[offset] for o, s in chunks for offset, size, end in zip(o, s, ends, strict=True))
    distinct = {offsets for offsets, _ in chunks}
    return cells and len(distinct) == len(chunks) == prod(map(len, cuts))


def _overlap(one: tuple[tuple[int, ...], ...], other: tuple[tuple[int, ...], ...]) -> bool:
    axes = zip(*one, *other, strict=True)
    return all(begin < start + size and start < begin + length for begin, length, start, size in axes)


def _dtype(properties: Any) -> str:
    """The dtype of a tensor; raises DamageError for one that torch lacks."""
    state = properties.state if isinstance(properties, OpaqueValue) else None
    kind = state.get("dtype") if isinstance(state, dict) else state[0] if isinstance(state, tuple) and state else None
    name = kind.full.removeprefix("torch.") if isinstance(kind, GlobalName) else ""
    if name not in ITEMSIZE:
        raise DamageError("a tensor of an unknown kind")
    return name


def _as_tree(tensors: Mapping[str, TensorRef], keys: Any) -> dict[str, Any]:
    """The tensors under the keys that led to them when they were saved, or under their names where these are unknown.

    Raises DamageError if one leads through another.
    """
    tree: dict[Any, Any] = {}
    for name, ref in tensors.items():
        way = keys.get(name) if isinstance(keys, dict) else None
        known = isinstance(way, tuple) and 0 < len(way) <= MAX_PATH and all(isinstance(key, str | int) for key in way)
        *above, last = way if known and isinstance(way, tuple) else (name,)
        inner = tree
        for key in above:
            inner = inner.setdefault(key, {})
            if not isinstance(inner, dict):
                raise DamageError(f"a tensor in the place of a dictionary: {safe_excerpt(name)}")
        if last in inner:
            raise DamageError(f"two tensors in one place: {safe_excerpt(name)}")
        inner[last] = ref
    return tree


def _require_shards(path: Path, places: Mapping[str, Place]) -> None:
    """Raises CheckpointError if a file of chunks is missing, is too short, or is a link out of the directory."""
    ends: dict[Path, int] = {}
    for place in places.values():
        for shard in place.shards:
            end = shard.part.begin + shard.part.size
            ends[shard.part.file] = max(end, ends.get(shard.part.file, 0))
    for file, end in ends.items():
        require_inside(file, path)
        if not file.is_file():
            raise CheckpointError(
                f"{path} is incomplete: there is no {file.name}", fix="copy all files of the directory"
            )
        if file.stat().st_size < end:
            raise CheckpointError(f"{file} is truncated: it ends before its chunks do", fix="copy it again")


def _fetch(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors by name, put together from their chunks; raises CheckpointError for damaged ones."""
    from landscape.checkpoints.formats.fetching import fetch_shards  # needs torch

    return fetch_shards(contents, refs)


DISTRIBUTED = Format(
    "distributed checkpoint", lambda candidate: METADATA in candidate.folder_names, describe_shards, _fetch
)
