"""Named arrays with metadata in one safetensors file: the format of snapshots and of sidecars.

The metadata hold a digest of everything else in the file; a file whose digest does not fit is not believed. Arrays are
written from where they lie, in memory or in a file (`StoredArray`), one after another and without further copies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import OutputError
from landscape.storage.atomic_files import replace_file
from landscape.storage.paths import MARK
from landscape.storage.provenance import SCHEMA
from landscape.storage.stored_array import StoredArray

DIGEST = "landscape_digest"  # entry of the metadata
METADATA = "__metadata__"  # safetensors' name for them in its header
ALIGNMENT = 8  # of the first array in the file, as safetensors wants it
MAX_HEADER = 100_000_000  # bytes; safetensors reads no longer one
CHUNK = 1 << 24  # bytes that go into a digest at once
DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BOOL": np.dtype("?"),
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """Writes arrays by name, and the texts `about` them, as one file that replaces an earlier one as a whole.

    Equal arrays and texts give equal files. Raises OutputError if the file cannot be written.
    """
    ordered = _in_order({name: _as_rows(array) for name, array in arrays.items()})
    texts = {MARK: str(SCHEMA), **about}
    texts[DIGEST] = content_digest(ordered, texts)
    replace_file(path, _header(ordered, texts), *(partial(_bytes_of, array) for array in ordered.values()))


def load_arrays(
    path: Path, kind: str = "snapshot", *, held: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the texts that `save_arrays` wrote; raises OutputError if the file is not as it was written.

    `kind` is the word for the file in the message. The arrays are in memory if they are to be `held`; else each is a
    `StoredArray` in the file, which must stay until they are read.
    """
    remedy = "--restart discards it" if kind == "snapshot" else "delete it; it is then computed again"
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        with path.open("rb") as file:
            stored, texts = _read(file, path.stat().st_size)
        arrays: dict[str, Any] = {name: array.read() if held else array for name, array in stored.items()}
        expected = texts.pop(DIGEST, None)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes may raise anything
        raise OutputError(f"{path} is not a readable {kind}", why="it is damaged", fix=remedy) from error
    if expected is None:
        raise OutputError(f"{path} has no digest", why=f"another version of landscape wrote this {kind}", fix=remedy)
    if content_digest(arrays, texts) != expected:
        why = "its digest does not fit: the file was damaged or changed after it was written"
        raise OutputError(f"{path} is a damaged {kind}", why=why, fix=remedy)
    texts.pop(MARK, None)
    return arrays, texts


def content_digest(arrays: Mapping[str, np.ndarray | StoredArray], texts: Mapping[str, str]) -> str:
    """The sha256 of names, dtypes, shapes and bytes of arrays, and of texts; in whatever order they are given."""
    digest = hashlib.sha256(json.dumps(dict(texts), sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, CODES[array.dtype], list(array.shape)]).encode())
        content = _bytes_of(array)
        for start in range(0, len(content), CHUNK):
            digest.update(content[start : start + CHUNK])
    return digest.hexdigest()


def _in_order(arrays: Mapping[str, np.ndarray | StoredArray]) -> dict[str, np.ndarray | StoredArray]:
    """The arrays with the widest numbers first, so that each is aligned in the file."""
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    return {name: arrays[name] for name in names}


def _header(arrays: Mapping[str, np.ndarray | StoredArray], texts: Mapping[str, str]) -> bytes:
    """The bytes before the first array: the length of the description, and the description."""
    entries: dict[str, Any] = {METADATA: dict(sorted(texts.items()))}
    offset = 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        entries[name] = {"dtype": CODES[array.dtype], "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    description = json.dumps(entries).encode()
    description += b" " * (-len(description) % ALIGNMENT)
    return len(description).to_bytes(8, "little") + description


def _as_rows(array: np.ndarray | StoredArray) -> np.ndarray | StoredArray:
    """The array with its entries row by row; one in a file is not read."""
    return array if isinstance(array, StoredArray) else np.asarray(array, order="C")


def _bytes_of(array: np.ndarray | StoredArray) -> memoryview:
    """The bytes of an array, which are not copied."""
    return np.asarray(array).reshape(-1).view(np.uint8).data


def _read(file: BufferedReader, size: int) -> tuple[dict[str, StoredArray], dict[str, str]]:
    """The arrays and the metadata of an open file; raises some Exception if its bytes do not fit together."""
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, MAX_HEADER):
        raise ValueError("the description is longer than the file")
    entries = json.loads(file.read(length))
    texts = {str(key): str(text) for key, text in entries.pop(METADATA).items()}
    arrays = {name: _locate_array(Path(file.name), 8 + length, size, entry) for name, entry in entries.items()}
    return arrays, texts


def _locate_array(path: Path, start: int, size: int, entry: Mapping[str, Any]) -> StoredArray:
    dtype, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    begin, end = (start + int(offset) for offset in entry["data_offsets"])
    count = 1
    for extent in shape:
        if not isinstance(extent, int) or extent < 0:
            raise ValueError("a shape that is none")
        count *= extent
    if not start <= begin <= end <= size or end - begin != count * dtype.itemsize:
        raise ValueError("an array that is not in the file")
    return StoredArray(dtype, shape, partial(_read_array, path, begin, dtype, shape))


def _read_array(path: Path, begin: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """An array of the file; raises OutputError if it is not there any more."""
    array = np.empty(shape, dtype)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            if file.readinto(_bytes_of(array)) == array.nbytes:
                return array
    except OSError:
        pass
    raise OutputError(f"{path} was removed or cut off while it was read", fix="measure again")
