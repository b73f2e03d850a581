"""Files of safetensors, alone or as the shards of a directory, described by their headers. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from safetensors import SafetensorError, safe_open

from landscape.checkpoints.formats.contents import Contents, Place, file_stamps
from landscape.checkpoints.formats.foreign import require_not_foreign
from landscape.checkpoints.formats.format import Candidate, Format, description_allowance
from landscape.checkpoints.formats.tensor_refs import Storage, TensorRef, contiguous_strides
from landscape.checkpoints.spec import DATA_KEY, SPEC_KEY
from landscape.errors import CheckpointError, listing

if TYPE_CHECKING:
    from torch import Tensor

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


def describe_safetensors(path: Path) -> Contents:
    """The description of one file; raises CheckpointError if it is damaged."""
    return describe_files(path, SAFETENSORS, (path,), (path,))


def describe_files(path: Path, format: Format, shards: tuple[Path, ...], files: tuple[Path, ...]) -> Contents:
    """The description of the tensors in `shards`; `files` are all files of the checkpoint, which are hashed.

    Raises CheckpointError if a shard is damaged, or two shards hold tensors of one name.
    """
    stamp = file_stamps(files)
    tree: dict[str, TensorRef] = {}
    places: dict[str, Place] = {}
    metadata = None
    for shard in shards:
        description, refs = _read_header(shard)
        twice = sorted(tree.keys() & refs.keys())
        if twice:
            raise CheckpointError(f"{path} holds tensors twice: {listing(twice)}", fix="download it again")
        tree |= refs
        places |= dict.fromkeys(refs, Place(shard))
        metadata = metadata or description
    prefix = DATA_KEY + "."
    extras = {name.removeprefix(prefix): ref for name, ref in tree.items() if name.startswith(prefix)}
    weights = {name: ref for name, ref in tree.items() if not name.startswith(prefix)}
    return Contents(path, format, files, weights | {DATA_KEY: extras}, places, metadata, (), stamp)


def fetch_safetensors(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The tensors of safetensors files by name; raises CheckpointError for a damaged file."""
    from landscape.checkpoints.formats.fetching import fetch_from_shards  # needs torch

    return fetch_from_shards(contents, refs)


def tensor_ranges(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """The offset and the length of each tensor's bytes, by name; `describe_safetensors` has checked the header."""
    size = int.from_bytes(file.read(8), "little")
    entries = {name: entry for name, entry in json.loads(file.read(size)).items() if name != "__metadata__"}
    offsets = {name: entry["data_offsets"] for name, entry in entries.items()}
    return {name: (8 + size + begin, end - begin) for name, (begin, end) in offsets.items()}


def headers_with_metadata(file: BinaryIO, entries: Mapping[str, str]) -> tuple[bytes, bytes]:
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


def _read_header(path: Path) -> tuple[str | None, dict[str, TensorRef]]:
    """The checkpoint's description of itself (None without one) and the tensors in one safetensors file."""
    candidate = Candidate(path)
    require_not_foreign(candidate)
    if not _is_safetensors(candidate):
        raise CheckpointError(f"{path} is not a safetensors file", fix="download it again")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header * HEADER_COST > description_allowance(path.stat().st_size):
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
    return TensorRef(Storage(key, dtype, prod(shape)), dtype, 0, shape, contiguous_strides(shape))


def _is_safetensors(candidate: Candidate) -> bool:
    """Whether a file begins with the length of a header that fits into it, then JSON."""
    head = candidate.head
    return len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= candidate.size - 8


SAFETENSORS = Format("safetensors", _is_safetensors, describe_safetensors, fetch_safetensors, editable=True)
