"""What is in a checkpoint, without its bytes: names, shapes, dtypes, and where they are. Needs no torch."""

from __future__ import annotations

import io
import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from landscape.checkpoints import archive, sniff
from landscape.checkpoints.archive import Member
from landscape.checkpoints.pickled import Damaged, Refused, Storage, TensorRef, interpret
from landscape.checkpoints.spec import DATA_KEY, KEY, Spec
from landscape.errors import CheckpointError, listing

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
PROTOCOL = 1001  # of torch's old writer
COUNT = 8  # bytes before each storage of the old format that tell how many items it has
TRUST = "if you trust the file:  landscape {command} {path} --trust"


@dataclass(frozen=True)
class Place:
    """Where a storage's bytes begin in a file; a member of a zip archive has a checksum too."""

    file: Path
    begin: int = 0
    member: Member | None = None


@dataclass(frozen=True)
class Contents:
    """A checkpoint's description: `tree` is what it holds, with a `TensorRef` for each tensor.

    `places` tell where a storage is, by its key; a safetensors file's have none, since its library reads them.
    """

    path: Path
    format: str
    files: tuple[Path, ...]
    tree: Any
    places: Mapping[str, Place]
    metadata: str | None = None
    bystanders: tuple[str, ...] = ()
    stamp: tuple[tuple[int, int], ...] = field(default=())

    @property
    def nbytes(self) -> int:
        """The size of the files together."""
        return sum(size for size, _ in self.stamp)

    @property
    def spec(self) -> Spec | None:
        """The checkpoint's description of itself; raises CheckpointError if it is malformed."""
        held = self.tree.get(KEY) if self.metadata is None and isinstance(self.tree, dict) else self.metadata
        return Spec.from_json(held, str(self.path)) if isinstance(held, str) else None

    def require_unchanged(self) -> None:
        """Raises CheckpointError if a file was written to since it was looked at."""
        if stamps(self.files) != self.stamp:
            raise CheckpointError(
                f"{self.path} changed while it was read", fix="copy it where nothing writes to it, and measure the copy"
            )


def look(path: Path) -> Contents:
    """What the checkpoint holds, read as data; raises CheckpointError for what is none, is damaged or runs code."""
    kind = sniff.sniff(path)
    if kind in sniff.RUN_CODE:
        raise runs_code(path, kind)
    readers = {sniff.TORCH_ZIP: _zipped, sniff.TORCH_LEGACY: _legacy}
    return readers[kind](path) if kind in readers else _safetensors(path, kind)


def runs_code(path: Path, kind: str) -> CheckpointError:
    """The error for a format that cannot be opened without running what is in it."""
    article = "an" if kind[0] in "aeiou" else "a"
    what = {
        sniff.PICKLE: "a bare pickle",
        sniff.DISTRIBUTED: "a distributed checkpoint, described by a pickle",
        sniff.EXPORTED: "a program of torch.export, whose sample inputs are a pickle",
        sniff.TORCHSCRIPT: "a TorchScript program",
    }.get(kind, f"{article} {kind}")
    return CheckpointError(
        f"{path} is {what}: opening it runs code from it",
        why="landscape opens checkpoints as data only",
        fix="save the weights alone: torch.save(model.state_dict(), path), or, "
        + TRUST.format(command="eig", path=path),
    )


def stamps(files: tuple[Path, ...]) -> tuple[tuple[int, int], ...]:
    """Size and time of change of each file."""
    known = [os.stat(file) for file in files]
    return tuple((one.st_size, one.st_mtime_ns) for one in known)


# -- torch's formats -----------------------------------------------------------------------------------------------


def _zipped(path: Path) -> Contents:
    stamp = stamps((path,))
    allowance = sniff.allowance(stamp[0][0])
    inside = archive.members(path, archive.names(path, allowance))
    if "byteorder" in inside and archive.content(path, inside["byteorder"]) != b"little":
        raise CheckpointError(f"{path} was written on a big-endian machine", fix="save it as safetensors there")
    description = inside["data.pkl"]
    if description.size > sniff.LARGEST:
        raise CheckpointError(
            f"{path} is damaged: its description alone has {description.size:,} bytes", fix=archive.COPY
        )
    pickle = _interpreted(path, io.BytesIO(archive.content(path, description)), allowance)
    places = {
        name.removeprefix("data/"): Place(path, member=member)
        for name, member in inside.items()
        if name.startswith("data/")
    }
    return Contents(path, sniff.TORCH_ZIP, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


def _legacy(path: Path) -> Contents:
    stamp = stamps((path,))
    allowance = sniff.allowance(stamp[0][0])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        view.seek(len(sniff.LEGACY_MAGIC))
        protocol, system = (_interpreted(path, view, allowance).tree for _ in range(2))
        if protocol != PROTOCOL or not (isinstance(system, dict) and system.get("little_endian")):
            raise CheckpointError(f"{path} is of a kind that torch no longer writes", fix="save it again with torch")
        pickle = _interpreted(path, view, allowance)
        keys = _interpreted(path, view, allowance).tree
        places = _laid_out(path, keys, _storages(pickle.tree), view)
    return Contents(path, sniff.TORCH_LEGACY, (path,), pickle.tree, places, None, pickle.bystanders, stamp)


def _laid_out(path: Path, keys: Any, storages: Mapping[str, Storage], view: mmap.mmap) -> dict[str, Place]:
    """Where each storage is: one after the other, in the order of the keys, each behind its count."""
    places: dict[str, Place] = {}
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(view.read(COUNT), "little")
        storage = storages.get(key)
        if storage is None or storage.count != count or view.tell() + storage.nbytes > len(view):
            break
        places[key] = Place(path, view.tell())
        view.seek(storage.nbytes, os.SEEK_CUR)
    if places.keys() != storages.keys():
        raise CheckpointError(f"{path} is damaged or truncated: its tensors are not all there", fix="copy it again")
    return places


def _storages(tree: Any) -> dict[str, Storage]:
    found: dict[str, Storage] = {}
    seen: set[int] = set()
    waiting = [tree]
    while waiting:  # not recursive: nothing limits how deep a file may nest
        value = waiting.pop()
        if isinstance(value, TensorRef):
            found[value.storage.key] = value.storage
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    return found


def _interpreted(path: Path, stream: Any, allowance: int) -> Any:
    try:
        return interpret(stream, allowance)
    except Refused as error:
        raise CheckpointError(
            f"{path} holds Python objects besides tensors: {error}",
            why="landscape opens checkpoints as data only, and opening such an object runs code",
            fix="re-save the weights alone: torch.save(model.state_dict(), path), or, "
            + TRUST.format(command="eig", path=path),
        ) from None
    except Damaged as error:
        raise CheckpointError(
            f"{path} is damaged or truncated: its description cannot be read", why=str(error), fix="copy it again"
        ) from error


# -- safetensors ---------------------------------------------------------------------------------------------------


def _safetensors(path: Path, kind: str) -> Contents:
    shards = (path,) if kind == sniff.SAFETENSORS else _shards(path)
    files = (*shards, path / sniff.CONFIG) if kind == sniff.HUGGING_FACE else shards
    stamp = stamps(files)
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


def _header(path: Path) -> tuple[str | None, dict[str, TensorRef]]:
    """The description of itself and the tensors of one safetensors file."""
    if sniff.sniff(path) != sniff.SAFETENSORS:
        raise CheckpointError(f"{path} is not a safetensors file", fix="download it again")
    try:
        with safe_open(path, framework="np") as file:
            metadata = (file.metadata() or {}).get(KEY)
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
    home = path.resolve()
    homes = [home, *([home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [])]
    for file in (*shards, *(path / name for name in (sniff.CONFIG, sniff.INDEX) if (path / name).is_symlink())):
        if file.resolve().parent not in homes:
            raise CheckpointError(
                f"{file} is a link that leaves its directory", why=f"it leads to {file.resolve()}", fix="copy the file"
            )
        if not file.is_file():
            raise CheckpointError(f"{path} is incomplete: there is no {file.name}", fix="download it again")
    return shards


def _indexed(index: Path) -> list[str]:
    """The files that an index of shards names; raises CheckpointError for a name outside its directory."""
    if index.stat().st_size > sniff.LARGEST:
        raise CheckpointError(f"{index} is absurdly large", fix="download it again")
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{index} is damaged: {type(error).__name__}: {error}", fix="download it again"
        ) from error
    outside = [str(name) for name in names if not isinstance(name, str) or Path(name).name != name or name == ".."]
    if outside or not names:
        raise CheckpointError(
            f"{index} names files that are not in its directory: {listing(outside) or 'none'}", fix="download it again"
        )
    return names
