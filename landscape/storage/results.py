"""Results as HDF5 that others can open, written atomically and read with suspicion.

One group per analysis, with a dimension scale for every axis, so that xarray and netCDF4 read it as a data set.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from landscape.errors import OutputError
from landscape.fields import Array, Scalar, described_fields, dimensions
from landscape.storage import paths, provenance
from landscape.storage.paths import MARK

LIBVER = ("earliest", "v110")  # HDF5 1.10 and later, netCDF-C and h5netcdf read it
COMPRESSED_FROM = 4096  # bytes: smaller data sets grow when chunked
DEFLATE_LIMIT = 1032  # zlib's greatest ratio: a data set cannot honestly declare more than this times the file
DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)  # what h5py may raise
SCALE_ATTRIBUTES = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST")  # HDF5 writes them itself
MOST_NAMES = 100_000  # in a list of names
NAMES_TOGETHER = 100  # read at once: each may claim a text as long as the file
FLAGS = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "no yes"}


@dataclass(frozen=True)
class Stored:
    """One analysis as it was read: arrays and numbers by name, and the group's attributes."""

    values: dict[str, Any]
    attributes: dict[str, Any]


# -- writing -------------------------------------------------------------------------------------------------------


def write(path: Path, group: str, record: Any, attributes: Mapping[str, Any], history: str = "") -> None:
    """Puts `record` (a result dataclass) into the file as `group`; the file's other groups stay.

    The file is replaced as a whole or not at all. Raises OutputError if it is not ours or cannot be written.
    """
    require_ours(path)
    with h5py.File("image", "w", driver="core", backing_store=False, libver=LIBVER) as file:
        earlier = _copy_others(path, group, file)
        file.attrs.update(
            {
                "Conventions": "CF-1.11",
                MARK: provenance.SCHEMA,
                "title": "Geometry of a loss around a checkpoint",
                "source": f"loss-landscape-geometry {provenance.installed('loss-landscape-geometry')}",
                "history": "\n".join(filter(None, [f"{provenance.now()} {history}".strip(), earlier])),
                "environment": json.dumps(provenance.environment(), sort_keys=True),
            }
        )
        _write_group(file.create_group(group), record, attributes)
        file.flush()
        image = file.id.get_file_image()
    replace_file(path, image)


def replace_file(path: Path, content: bytes) -> None:
    """Writes beside the path, then renames: a crash leaves the old file or the new one, never a torn one."""
    path = path.resolve()  # a link stays a link
    temporary = paths.temporary_file(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written: {error.strerror}",
            why="what was there before is untouched" if path.exists() else "",
            fix="free some space, or write elsewhere with -o FILE",
        ) from error


def require_ours(path: Path) -> None:
    """Raises OutputError if something is at the path that landscape did not write."""
    if not path.exists():
        return
    try:
        with h5py.File(path, "r") as file:
            ours = MARK in file.attrs
    except OSError:
        ours = False
    if not ours:
        raise OutputError(f"{path} exists and was not written by landscape", fix="write elsewhere with -o FILE")


def _write_group(group: h5py.Group, record: Any, attributes: Mapping[str, Any]) -> None:
    group.attrs.update({name: value for name, value in attributes.items() if value is not None})
    every = [(field, getattr(record, field.name)) for field in described_fields(type(record), Array)]
    arrays = [(field, np.asarray(values)) for field, values in every if values is not None]
    coordinates = {field.name for field, _ in arrays if field.about.dims == (field.name,)}
    held = {field.name for field, _ in arrays}
    for field, values in arrays:
        dataset = _create(group, field.name, values, field.about.help, field.about.unit)
        if field.name in coordinates:
            dataset.make_scale(field.name)
    for field, values in arrays:
        for axis, dimension in enumerate(dimensions(type(record), field, held)):
            if dimension not in group:
                _create(group, dimension, np.arange(values.shape[axis]), "", "1").make_scale(dimension)
            if field.name not in coordinates:
                group[field.name].dims[axis].attach_scale(group[dimension])
    for number in described_fields(type(record), Scalar):
        if (value := getattr(record, number.name)) is not None:
            _create(group, number.name, np.asarray(value), number.about.help, number.about.unit)


def _create(group: h5py.Group, name: str, values: np.ndarray, help: str, unit: str) -> h5py.Dataset:
    packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
    flags, words = values.dtype == np.bool_, values.dtype.kind == "U"
    stored = values.astype(np.int8) if flags else values.astype(h5py.string_dtype()) if words else values
    large = stored.nbytes > COMPRESSED_FROM and not words
    dataset = group.create_dataset(name, data=stored, **(packed if large else {}))
    dataset.attrs.update({"long_name": help, **({} if words else {"units": unit})} if help else {})
    dataset.attrs.update(FLAGS if flags else {})
    return dataset


def _copy_others(path: Path, group: str, target: h5py.File) -> str:
    """Copies the file's other groups and returns its history."""
    if not path.exists():
        return ""
    try:
        with _guarded(path) as source:
            for name in source:
                if name != group:
                    _copy(source[name], target.create_group(name))
            return str(source.attrs.get("history", ""))
    except DAMAGE as error:
        raise OutputError(f"{path} is damaged: {error}", fix="write elsewhere with -o FILE") from error


def _copy(source: h5py.Group, target: h5py.Group) -> None:
    """A group with its data sets; scales are attached anew, since references point into the file they were made in."""
    target.attrs.update(source.attrs)
    for name, dataset in source.items():
        packed = {key: getattr(dataset, key) for key in ("compression", "compression_opts", "shuffle", "fletcher32")}
        filters = packed if dataset.chunks else {}
        copy = target.create_dataset(name, data=dataset[()], dtype=dataset.dtype, **filters)
        copy.attrs.update({key: value for key, value in dataset.attrs.items() if key not in SCALE_ATTRIBUTES})
        if dataset.is_scale:
            copy.make_scale(name)
    for name, dataset in source.items():
        for axis, dimension in enumerate(dataset.dims):
            for scale in dimension.values():
                target[name].dims[axis].attach_scale(target[scale.name.rpartition("/")[2]])


def sync_directory(folder: Path) -> None:
    """Puts the names in a folder on the disk, as fsync puts the bytes of a file."""
    if platform.system() == "Windows":  # directories cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- reading -------------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Stored]:
    """Every analysis of a results file by name; raises OutputError for a file that is not one, or is hostile."""
    try:
        with _guarded(path) as file:
            return {name: _stored(group) for name, group in file.items()}
    except DAMAGE as error:
        raise OutputError(f"{path} is damaged: {error}", fix="measure again") from error


def as_record(kind: type, stored: Stored) -> Any:
    """The result dataclass that was stored; absent optional arrays are None."""
    arrays, scalars = list(described_fields(kind, Array)), list(described_fields(kind, Scalar))
    names = [f.name for f in arrays] + [f.name for f in scalars]
    optional = {f.name for f in arrays if f.default is None} | {f.name for f in scalars if f.about.optional}
    for dimension in (
        kind.tables if hasattr(kind, "tables") else ()
    ):  # a table's columns are there together or not at all
        together = {f.name for f in arrays if f.about.dims[0] == dimension and f.name.startswith(dimension)}
        optional -= together if together & set(stored.values) else set()
    missing = sorted(set(names) - set(stored.values) - optional)
    if missing:
        raise OutputError(f"the stored {kind.__name__} lacks {', '.join(missing)}", fix="measure again")
    bad = [f.name for f in scalars if not isinstance(stored.values.get(f.name, 0), int | float | bool)]
    lengths: dict[str, int] = {}
    for field in arrays:
        values = np.asarray(stored.values.get(field.name, 0.0))
        if field.name not in stored.values:
            continue
        named = field.about.words or field.about.dims == (field.name,)
        kinds = "biufU" if named else "biuf"
        dims = dimensions(kind, field, stored.values)
        fits = values.ndim == len(dims) and values.dtype.kind in kinds
        if fits:
            pairs = zip(dims, values.shape, strict=True)
            fits = all(lengths.setdefault(dimension, length) == length for dimension, length in pairs)
        if not fits:
            bad.append(field.name)
    if bad:
        raise OutputError(
            f"the stored {kind.__name__} has values of another kind: {', '.join(bad)}", fix="measure again"
        )
    return kind(**{name: stored.values.get(name) for name in names})


def _stored(group: h5py.Group) -> Stored:
    values = {}
    for name, dataset in group.items():
        flags = "flag_values" in dataset.attrs
        words = h5py.check_string_dtype(dataset.dtype) is not None
        content = _words(dataset) if words else dataset[()]
        content = content.astype(bool) if flags else content
        values[name] = content.item() if dataset.shape == () else content
    return Stored(values, {key: _plain(value) for key, value in group.attrs.items() if isinstance(key, str)})


def _words(dataset: h5py.Dataset) -> np.ndarray:
    """A list of names, read a few at a time: each may claim the same long text, so that they are weighed."""
    if dataset.ndim != 1 or dataset.size > MOST_NAMES:
        raise OutputError(f"{dataset.name} is not a list of names")
    room = DEFLATE_LIMIT * Path(dataset.file.filename).stat().st_size
    found: list[str] = []
    for first in range(0, dataset.size, NAMES_TOGETHER):
        words = [bytes(word).decode() for word in dataset[first : first + NAMES_TOGETHER]]
        room -= sum(map(len, words))
        if room < 0:
            raise OutputError(f"{dataset.name} claims more text than its file can hold")
        found += words
    return np.array(found, dtype=str)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def _guarded(path: Path) -> Iterator[h5py.File]:
    """The open file, after its structure was found honest: groups of plain data sets that fit into its size."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        what = "there is no file" if not path.exists() else "not an HDF5 file, or a damaged one:"
        raise OutputError(f"{what} {path}", fix="name a .landscape.h5 file") from error
    with file:
        if MARK not in file.attrs:
            raise OutputError(f"{path} is an HDF5 file, but not one of landscape's")
        if int(file.attrs[MARK]) > provenance.SCHEMA:
            raise OutputError(f"{path} was written by a newer landscape", fix="upgrade loss-landscape-geometry")
        declared = sum(_honest_bytes(file, name, path) for name in file)
        if declared > DEFLATE_LIMIT * path.stat().st_size:
            raise OutputError(f"{path} declares {declared:.2g} bytes, more than its size can hold")
        yield file


def _honest_bytes(file: h5py.File, name: str, path: Path) -> int:
    group = _hard(file, name, path)
    if not isinstance(group, h5py.Group):
        raise OutputError(f"{path}: /{name} is not a group")
    total = 0
    for inner in group:
        dataset = _hard(group, inner, path)
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise OutputError(f"{path}: /{name}/{inner} is not a plain data set")
        total += dataset.size * dataset.dtype.itemsize
    return total


def _hard(group: h5py.Group, name: str, path: Path) -> Any:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise OutputError(f"{path}: {group.name.rstrip('/')}/{name} is a link to elsewhere, which is not followed")
    return group[name]


# -- snapshots and sidecars ----------------------------------------------------------------------------------------


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """Arrays with words beside them, as one safetensors file, replaced atomically."""
    metadata = {MARK: str(provenance.SCHEMA), **about}
    replace_file(path, save({name: np.asarray(a, order="C") for name, a in arrays.items()}, metadata))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What `save_arrays` wrote; raises OutputError if the file is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = {key: text for key, text in (file.metadata() or {}).items() if key != MARK}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, MemoryError) as error:
        raise OutputError(f"{path} is not a readable snapshot", fix="--restart discards it") from error
    return arrays, about
