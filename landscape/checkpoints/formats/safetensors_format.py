"""safetensors files, alone or as the shards of a directory, described by their headers. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open

from landscape.checkpoints import json_data
from landscape.checkpoints.formats import sniff
from landscape.checkpoints.formats.contents import Contents, Place, file_stamps
from landscape.checkpoints.formats.tensor_refs import Storage, TensorRef
from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY
from landscape.errors import CheckpointError, listing, safe_excerpt

LARGEST_INDEX = 1 << 24  # bytes: the index of a hundred thousand tensors has ten million
HEADER_COST = 32  # bytes of memory that one byte of a header may take
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "BOOL": "bool",
    "C64": "complex64",
    **{f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}  # torch's names of safetensors' dtypes


def describe_safetensors(path: Path, kind: str) -> Contents:
    """The description of a file, or of a directory of the given kind; raises CheckpointError if it is damaged."""
    shards = (path,) if kind == sniff.SAFETENSORS else _shards(path)
    files = (*shards, path / sniff.CONFIG) if kind == sniff.HUGGING_FACE else shards
    stamp = file_stamps(files)
    tree: dict[str, TensorRef] = {}
    places: dict[str, Place] = {}
    metadata = None
    for shard in shards:
        described, refs = _header(shard)
        twice = sorted(tree.keys() & refs.keys())
        if twice:
            raise CheckpointError(f"{path} holds tensors twice: {listing(twice)}", fix="download it again")
        tree |= refs
        places |= dict.fromkeys(refs, Place(shard))
        metadata = metadata or described
    prefix = DATA_KEY + "."
    extras = {name.removeprefix(prefix): ref for name, ref in tree.items() if name.startswith(prefix)}
    weights = {name: ref for name, ref in tree.items() if not name.startswith(prefix)}
    return Contents(path, kind, files, weights | {DATA_KEY: extras}, places, metadata, (), stamp)


def tensor_ranges(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Where each tensor's bytes begin, and how many there are, in a file whose header `described` found honest."""
    size = int.from_bytes(file.read(8), "little")
    entries = {name: entry for name, entry in json.loads(file.read(size)).items() if name != "__metadata__"}
    offsets = {name: entry["data_offsets"] for name, entry in entries.items()}
    return {name: (8 + size + begin, end - begin) for name, (begin, end) in offsets.items()}


def marked_headers(file: BinaryIO, entries: Mapping[str, str]) -> tuple[bytes, bytes]:
    """The header of a safetensors file with its length, as it is and with further entries in its metadata."""
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    text = file.read(size)
    header = json.loads(text)
    header = {"__metadata__": {**header.pop("__metadata__", {}), **entries}, **header}
    marked = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    marked += b" " * (-len(marked) % 8)  # tensors begin at a multiple of 8 bytes, as safetensors itself writes them
    return size.to_bytes(8, "little") + text, len(marked).to_bytes(8, "little") + marked


def require_inside(file: Path, path: Path) -> None:
    """Raises CheckpointError if a file of a directory is a link to elsewhere, other than the blobs of a hub's cache."""
    home = path.resolve()
    homes = [home, *([home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [])]
    if file.resolve().parent not in homes:
        raise CheckpointError(
            f"{file} is a link that leaves its directory", why=f"it leads to {file.resolve()}", fix="copy the file"
        )


def _header(path: Path) -> tuple[str | None, dict[str, TensorRef]]:
    """The description of itself and the tensors of one safetensors file."""
    if sniff.sniff(path) != sniff.SAFETENSORS:
        raise CheckpointError(f"{path} is not a safetensors file", fix="download it again")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header * HEADER_COST > sniff.description_allowance(path.stat().st_size):
        raise CheckpointError(f"{path} is damaged: its header alone has {header:,} bytes", fix="download it again")
    try:
        with safe_open(path, framework="np") as file:
            metadata = (file.metadata() or {}).get(SPEC_KEY)
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            known = {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is a damaged safetensors file: {error}", fix="copy it again") from error
    odd = sorted({kind for kind, _ in known.values()} - DTYPES.keys())
    if odd:
        raise CheckpointError(f"{path} holds tensors of an unknown kind: {listing(odd)}", fix="save them as float32")
    return metadata, {name: _whole(name, DTYPES[kind], shape) for name, (kind, shape) in known.items()}


def _whole(key: str, dtype: str, shape: tuple[int, ...]) -> TensorRef:
    """A contiguous tensor with a storage of its own."""
    strides, count = [], 1
    for size in reversed(shape):
        strides.append(count)
        count *= size
    return TensorRef(Storage(key, dtype, count), dtype, 0, shape, tuple(reversed(strides)))


def _shards(path: Path) -> tuple[Path, ...]:
    """The safetensors files of a directory, by its index if it has one; raises CheckpointError for links that leave it.

    A cache of the Hugging Face hub keeps its files as links into its own folder of blobs: those are followed.
    """
    index = path / sniff.INDEX
    names = _indexed(index) if index.exists() and not (path / sniff.WEIGHTS).exists() else [sniff.WEIGHTS]
    shards = tuple(path / name for name in names)
    for file in (*shards, *(path / name for name in (sniff.CONFIG, sniff.INDEX) if (path / name).is_symlink())):
        require_inside(file, path)
        if not file.is_file():
            raise CheckpointError(f"{path} is incomplete: there is no {file.name}", fix="download it again")
    return shards


def _indexed(index: Path) -> list[str]:
    """The files that an index of shards names; raises CheckpointError for a name outside its directory."""
    if index.stat().st_size > LARGEST_INDEX:
        raise CheckpointError(f"{index} is absurdly large", fix="download it again")
    found = json_data.parse_json(index.read_bytes(), index)
    files = found.get("weight_map") if isinstance(found, dict) else None
    names = list(dict.fromkeys(files.values())) if isinstance(files, dict) and _words(files.values()) else []
    outside = [safe_excerpt(name) for name in names if Path(name).name != name or name == ".."]
    if outside or not names:
        raise CheckpointError(
            f"{index} names files that are not in its directory: {listing(outside) or 'none'}", fix="download it again"
        )
    return sorted(names)


def _words(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)
