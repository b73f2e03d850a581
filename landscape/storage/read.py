"""Reads results files (HDF5) with suspicion: their structure and declared sizes are checked before any data is read."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import OutputError
from landscape.fields import Array, Scalar, described_fields, dimensions
from landscape.storage.isolation import is_written_here, run_isolated
from landscape.storage.paths import MARK
from landscape.storage.provenance import SCHEMA

ROOT = ""  # the name under which what lies outside of groups is kept
DEFLATE_LIMIT = 1032  # zlib's greatest ratio: a data set cannot honestly declare more than this times the file's size
H5PY_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)  # of damaged files
NUMBERS = "biuf"  # the kinds of them that results have
MAX_ITEM_SIZE = 8  # bytes of a number: NumPy's longer ones are none to Python and JSON
MAX_TEXTS = 100_000  # entries in a list of texts
TEXTS_PER_READ = 100  # entries read at once: each may claim a text as long as the file


@dataclass(frozen=True)
class StoredResult:
    """One analysis of a results file: arrays and numbers by name, and the attributes of its group."""

    values: dict[str, Any]
    attributes: dict[str, Any]


def read_results(path: Path) -> dict[str, StoredResult]:
    """Every analysis of a results file by name; raises OutputError for other files, and for damaged or hostile ones."""
    return {name: stored for name, stored in _read(path).items() if name != ROOT}


def read_root(path: Path) -> StoredResult:
    """What a file holds outside of groups; raises as `read_results`."""
    return _read(path)[ROOT]


def _read(path: Path) -> dict[str, StoredResult]:
    return read_in_process(path) if is_written_here(path) else _unpack(run_isolated(read_packed, path))


def read_in_process(path: Path) -> dict[str, StoredResult]:
    """Every group of a file, and its root, read by this process: a damaged file may keep or crash it."""
    try:
        with open_results(path) as file:
            groups = {name: group for name, group in file.items() if isinstance(group, h5py.Group)}
            return {name: _read_group(group) for name, group in {ROOT: file, **groups}.items()}
    except H5PY_ERRORS as error:
        if isinstance(error, MemoryError):
            raise
        raise OutputError(f"{path} is damaged: {error}", fix="measure again") from error


def read_packed(path: Path) -> bytes:
    """What `read_in_process` returns, as bytes for another process."""
    return _pack(read_in_process(path))


def to_record(kind: type, stored: StoredResult) -> Any:
    """The result dataclass of this kind from its stored values; absent optional fields are None.

    Raises OutputError for missing fields, and for values of other types or shapes than the fields describe.
    """
    missing = sorted(_mandatory_fields(kind, stored.values) - stored.values.keys())
    if missing:
        raise OutputError(f"the stored {kind.__name__} lacks {', '.join(missing)}", fix="measure again")
    malformed = [*_unfit_scalars(kind, stored.values), *_unfit_arrays(kind, stored.values)]
    if malformed:
        raise OutputError(
            f"the stored {kind.__name__} has values of another kind: {', '.join(malformed)}", fix="measure again"
        )
    names = [f.name for f in described_fields(kind, Array)] + [f.name for f in described_fields(kind, Scalar)]
    return kind(**{name: stored.values.get(name) for name in names})


@contextmanager
def open_results(path: Path) -> Iterator[h5py.File]:
    """The open results file; raises OutputError unless plain data sets that fit its size are all in it.

    A damaged file may keep or crash the process: only files that it wrote itself are opened outside `run_isolated`.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        what = "there is no file" if not path.exists() else "not an HDF5 file, or a damaged one:"
        raise OutputError(f"{what} {path}", fix="name a .landscape.h5 file") from error
    with file:
        if MARK not in file.attrs:
            raise OutputError(f"{path} is an HDF5 file, but not one of landscape's", fix="name a .landscape.h5 file")
        if int(file.attrs[MARK]) > SCHEMA:
            raise OutputError(f"{path} was written by a newer landscape", fix="upgrade loss-landscape-geometry")
        declared = sum(_bytes_of_group(file, name, path) for name in file)
        if declared > DEFLATE_LIMIT * path.stat().st_size:
            raise OutputError(f"{path} declares {declared:.2g} bytes, more than its size can hold", fix="measure again")
        yield file


# -- fields of a record --------------------------------------------------------------------------------------------


def _mandatory_fields(kind: type, values: Mapping[str, Any]) -> set[str]:
    """The names of the fields that must be stored: columns of one table are stored all together or not at all."""
    arrays, scalars = list(described_fields(kind, Array)), list(described_fields(kind, Scalar))
    optional = {f.name for f in arrays if f.default is None} | {f.name for f in scalars if f.about.optional}
    for dimension in getattr(kind, "tables", ()):
        columns = {f.name for f in arrays if f.about.dims[0] == dimension and f.name.startswith(dimension)}
        optional -= columns if columns & values.keys() else set()
    return ({f.name for f in arrays} | {f.name for f in scalars}) - optional


def _unfit_scalars(kind: type, values: Mapping[str, Any]) -> list[str]:
    return [f.name for f in described_fields(kind, Scalar) if not isinstance(values.get(f.name, 0), int | float | bool)]


def _unfit_arrays(kind: type, values: Mapping[str, Any]) -> list[str]:
    """The arrays of another type or rank than described, or whose dimensions have several lengths."""
    malformed: list[str] = []
    lengths: dict[str, int] = {}
    for field in described_fields(kind, Array):
        if field.name not in values:
            continue
        array = np.asarray(values[field.name])
        texts_allowed = field.about.words or field.about.dims == (field.name,)
        dims = dimensions(kind, field, values)
        fits = array.ndim == len(dims) and array.dtype.kind in ("biufU" if texts_allowed else "biuf")
        if not fits or not all(
            lengths.setdefault(dimension, length) == length for dimension, length in zip(dims, array.shape, strict=True)
        ):
            malformed.append(field.name)
    return malformed


# -- between processes ---------------------------------------------------------------------------------------------


def _pack(results: Mapping[str, StoredResult]) -> bytes:
    """The results as a line of JSON, behind which the arrays follow in the format of NumPy."""
    arrays, described = io.BytesIO(), {}
    for name, stored in results.items():
        plain = {key: value for key, value in stored.values.items() if not isinstance(value, np.ndarray)}
        large = [key for key in stored.values if key not in plain]
        described[name] = {"values": plain, "arrays": large, "attributes": stored.attributes}
        for key in large:
            np.lib.format.write_array(arrays, stored.values[key], allow_pickle=False)
    return json.dumps(described, default=str).encode() + b"\n" + arrays.getvalue()


def _unpack(packed: bytes) -> dict[str, StoredResult]:
    """The results that `_pack` made bytes of."""
    stream = io.BytesIO(packed)
    results = {}
    for name, described in json.loads(stream.readline()).items():
        arrays = {key: np.lib.format.read_array(stream, allow_pickle=False) for key in described["arrays"]}
        results[name] = StoredResult({**described["values"], **arrays}, described["attributes"])
    return results


# -- groups --------------------------------------------------------------------------------------------------------


def _read_group(group: h5py.Group) -> StoredResult:
    values = {}
    for name, dataset in group.items():
        if isinstance(dataset, h5py.Group):  # in the root
            continue
        is_flag = "flag_values" in dataset.attrs
        is_text = h5py.check_string_dtype(dataset.dtype) is not None
        content = _read_texts(dataset) if is_text else dataset[()]
        content = content.astype(bool) if is_flag else content
        values[name] = content.item() if dataset.shape == () else content
    return StoredResult(values, {key: _to_python(value) for key, value in group.attrs.items() if isinstance(key, str)})


def _read_texts(dataset: h5py.Dataset) -> np.ndarray:
    """A list of texts, read a few at a time: every entry may point to the same long text, so their sum is bounded."""
    if dataset.ndim != 1 or dataset.size > MAX_TEXTS:
        raise OutputError(f"{dataset.name} is not a list of names", fix="measure again")
    room = DEFLATE_LIMIT * Path(dataset.file.filename).stat().st_size
    texts: list[str] = []
    for first in range(0, dataset.size, TEXTS_PER_READ):
        piece = [bytes(text).decode() for text in dataset[first : first + TEXTS_PER_READ]]
        room -= sum(map(len, piece))
        if room < 0:
            raise OutputError(f"{dataset.name} claims more text than its file can hold", fix="measure again")
        texts += piece
    return np.array(texts, dtype=str)


def _to_python(value: Any) -> Any:
    """An attribute as Python has it, lists included."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _bytes_of_group(file: h5py.File, name: str, path: Path) -> int:
    """The bytes that a data set, or those of a group, declare; raises OutputError if it is, or holds, anything else."""
    member = _require_hard_link(file, name, path)
    if not isinstance(member, h5py.Group):
        return _bytes_of_dataset(member, f"/{name}", path)
    return sum(_bytes_of_dataset(_require_hard_link(member, inner, path), f"/{name}/{inner}", path) for inner in member)


def _bytes_of_dataset(dataset: Any, name: str, path: Path) -> int:
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise OutputError(f"{path}: {name} is not a plain data set", fix="measure again")
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    if not is_text and (dataset.dtype.kind not in NUMBERS or dataset.dtype.itemsize > MAX_ITEM_SIZE):
        raise OutputError(f"{path}: {name} holds {dataset.dtype}, which no result does", fix="measure again")
    return int(dataset.size * dataset.dtype.itemsize)


def _require_hard_link(group: h5py.Group, name: str, path: Path) -> Any:
    """The member of a group; raises OutputError if it is a link to another place or file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise OutputError(
            f"{path}: {group.name.rstrip('/')}/{name} is a link to elsewhere, which is not followed",
            fix="measure again",
        )
    return group[name]
