"""Reads a checkpoint's tensors as data: no code from the file runs, and every byte that is used is checked."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from landscape.checkpoints import huggingface, huggingface_config, weight_sets
from landscape.checkpoints.checkpoint import BundledModel, Checkpoint, content_sha256
from landscape.checkpoints.formats import archive, sniff
from landscape.checkpoints.formats.contents import Contents, Place
from landscape.checkpoints.formats.describe import describe
from landscape.checkpoints.formats.tensor_refs import OddTensor, Storage, TensorRef
from landscape.checkpoints.spec import DATA_KEY
from landscape.errors import CheckpointError, listing

READERS = 4  # threads: a copy and a checksum each run at memory speed, outside the interpreter's lock
PIECE = 1 << 24  # bytes copied and summed at once: inside the processor's cache
DEEPEST = 100  # levels of a data file; no batch has more


def read(path: str | Path, *, weights: str | None = None, trust: bool = False) -> Checkpoint:
    """The checkpoint in a file or a directory.

    `weights` chooses among several sets: `ema`, `raw`, or the place of one in the file. With `trust` a file may run
    code: formats that cannot be read as data are then opened as their own library does. Raises CheckpointError with
    the remedy.
    """
    path = Path(path)
    try:
        contents = describe(path)
    except CheckpointError:
        if not trust:
            raise
        from landscape.checkpoints import trusted

        return trusted.open_trusted(path, sniff.sniff(path), weights)
    return read_contents(contents, weights)


def read_contents(contents: Contents, weights: str | None = None) -> Checkpoint:
    """The checkpoint whose description was looked at; the bytes of the chosen weights are read now."""
    path = contents.path
    spec = contents.spec
    choice = weight_sets.select_weights(contents.tree, weights, path)
    _require_plain(choice.nest.tensors, path)
    kept = contents.tree.get(DATA_KEY) if isinstance(contents.tree, dict) else None
    beside = {n: t for n, t in (kept if isinstance(kept, dict) else {}).items() if isinstance(t, TensorRef)}
    with ThreadPoolExecutor(1) as beside_reading:
        digest = beside_reading.submit(content_sha256, contents.files, path)
        tensors = fetch_tensors(
            contents, {name: t for name, t in choice.nest.tensors.items() if isinstance(t, TensorRef)}
        )
        extras = fetch_tensors(contents, beside)
        hexdigest = digest.result()
    contents.require_unchanged()
    notes = choice.notes
    if contents.bystanders:
        notes += (f"passed over {listing(contents.bystanders)}: Python objects, not read",)
    state = lambda: fetch_tree(contents, weight_sets.optimizer_state(contents.tree))  # noqa: E731
    module = _described(path, tensors) if contents.format == sniff.HUGGING_FACE else None
    return Checkpoint(path, hexdigest, contents.format, tensors, spec, extras, state, module, notes)


def fetch_tensors(contents: Contents, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
    """The described tensors, each storage read once; raises CheckpointError for a wrong checksum."""
    storages = {ref.storage.key: ref.storage for ref in refs.values()}
    missing = [key for key in storages if key not in contents.places]
    if missing:
        raise CheckpointError(
            f"{contents.path} is damaged: it has no bytes for {listing(missing)}", fix="copy or save it again"
        )
    if contents.format in (sniff.TORCH_ZIP, sniff.TORCH_LEGACY):
        with ThreadPoolExecutor(READERS) as pool:
            loaded = pool.map(lambda storage: _stored(storage, contents.places[storage.key]), storages.values())
            raw = dict(zip(storages, loaded, strict=True))
        return {name: _viewed(ref, raw[ref.storage.key]) for name, ref in refs.items()}
    return _from_safetensors(contents, {ref.storage.key: name for name, ref in refs.items()})


def fetch_tree(contents: Contents, value: Any) -> Any:
    """A part of a checkpoint's tree with its tensors read, each storage and each shared part once."""
    refs = _refs(value)
    fetched = fetch_tensors(contents, {str(place): ref for place, ref in enumerate(refs)})
    known: dict[int, Any] = {id(ref): fetched[str(place)] for place, ref in enumerate(refs)}

    def filled(part: Any, depth: int) -> Any:
        if depth > DEEPEST:
            raise CheckpointError(f"{contents.path} nests its entries too deeply", fix="save tensors by name")
        if id(part) not in known:
            if isinstance(part, dict):
                known[id(part)] = {key: filled(inner, depth + 1) for key, inner in part.items()}
            elif isinstance(part, list | tuple):
                known[id(part)] = type(part)(filled(inner, depth + 1) for inner in part)
            else:
                return part
        return known[id(part)]

    return filled(value, 0)


def _refs(value: Any) -> list[TensorRef]:
    found, seen, waiting = [], set(), [value]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, TensorRef):
            found.append(part)
        elif isinstance(part, dict | list | tuple):
            waiting += part.values() if isinstance(part, dict) else part
    return found


def _described(path: Path, tensors: dict[str, Tensor]) -> BundledModel:
    """The model of a Hugging Face directory."""
    said: list[str] = []

    def build() -> nn.Module:
        model, note = huggingface.build_with_weights(path, tensors)
        said[:] = [note] if note else []
        return model

    return BundledModel(lambda: huggingface_config.architecture_name(path), build, said)


def _stored(storage: Storage, place: Place) -> Tensor:
    """The bytes of a storage `(nbytes,)`, checked if the file has a checksum of them."""
    member = place.member
    if member and member.size != storage.nbytes:
        raise CheckpointError(
            f"{place.file} is damaged: {member.name} has {member.size} bytes, not {storage.nbytes}",
            fix="copy or save it again",
        )
    raw = torch.empty(storage.nbytes, dtype=torch.uint8)
    room, found = raw.numpy().data, 0
    with place.file.open("rb", buffering=0) as file:
        file.seek(archive.content_offset(file, member, place.file) if member else place.begin)
        for begin in range(0, storage.nbytes, PIECE):
            piece = room[begin : begin + PIECE]
            if file.readinto(piece) != len(piece):
                raise CheckpointError(f"{place.file} is truncated", fix="copy it again")
            found = zlib.crc32(piece, found) if member else 0
    if member:
        archive.require_crc(place.file, member, found)
    return raw


def _viewed(ref: TensorRef, raw: Tensor) -> Tensor:
    return raw.view(getattr(torch, ref.dtype)).as_strided(ref.shape, ref.stride, ref.offset)


def _from_safetensors(contents: Contents, names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors under new names; `names` maps those of the file to them."""
    tensors: dict[str, Tensor] = {}
    for shard in sorted({contents.places[key].file for key in names}):
        try:
            with safe_open(shard, framework="pt") as file:
                inside = [key for key in names if contents.places[key].file == shard]
                tensors |= {names[key]: file.get_tensor(key) for key in inside}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{shard} is a damaged safetensors file: {error}", fix="copy it again") from error
    return {name: tensors[name] for name in names.values()}


def _require_plain(tensors: weight_sets.Tensors, path: Path) -> None:
    odd = [f"{name} ({tensor.kind})" for name, tensor in tensors.items() if isinstance(tensor, OddTensor)]
    if odd:
        raise CheckpointError(
            f"{path} holds tensors that are no plain arrays: {listing(odd)}",
            fix="save sparse ones with .to_dense(), quantised ones with .dequantize()",
        )
