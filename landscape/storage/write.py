"""Writes results as HDF5: one group per analysis, with a dimension scale for every axis, as xarray and netCDF4 read it.

The whole file is made in memory and then replaced atomically.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import OutputError
from landscape.fields import Array, Scalar, described_fields, dimensions
from landscape.storage import paths, provenance
from landscape.storage.atomic_files import replace_file, resolve
from landscape.storage.isolation import is_written_here, remember_written, require_regular, run_isolated
from landscape.storage.paths import MARK
from landscape.storage.read import open_results, read_results

LIBVER = ("earliest", "v110")  # HDF5 1.10 and later, netCDF-C and h5netcdf read it
HISTORY = "history"  # attribute: the commands that wrote the file, the last one first
MIN_COMPRESSED = 4096  # bytes: smaller data sets grow when they are stored in chunks
SCALE_ATTRIBUTES = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST")  # HDF5 writes them itself
FLAG_ATTRIBUTES = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "no yes"}  # of booleans, as CF has them


def write_results(path: Path, group: str, record: Any, attributes: Mapping[str, Any], history: str = "") -> None:
    """Puts `record` (a result dataclass) into the file as `group`; the other groups of the file stay.

    The file is replaced as a whole or not at all. Raises OutputError if landscape did not write the file that is
    there, or if it cannot be written.
    """
    require_results_file(path)
    with _new_image() as file:
        earlier_history = _copy_other_groups(path, group, file)
        file.attrs.update(
            {
                "Conventions": "CF-1.11",
                MARK: provenance.SCHEMA,
                "title": "Geometry of a loss around a checkpoint",
                "source": f"loss-landscape-geometry {provenance.version_of('loss-landscape-geometry')}",
                HISTORY: _storable("\n".join(filter(None, [f"{provenance.now()} {history}".strip(), earlier_history]))),
                "environment": json.dumps(provenance.environment(), sort_keys=True),
            }
        )
        _write_group(file.create_group(group), record, attributes)
        image = _image_of(file)
    replace_file(path, image)
    remember_written(path)


def require_results_file(path: Path) -> None:
    """Raises OutputError if there is a file at the path that is not a results file, or a damaged one."""
    require_regular(path)
    if not resolve(path).exists():
        return
    if paths.file_kind_by_content(path) != "results":
        raise OutputError(f"{path} exists and was not written by landscape", fix="write elsewhere with -o FILE")
    if not is_written_here(path):  # what will be read is read now, before hours of measuring
        read_results(path)
        run_isolated(copy_of_results, path)


def _write_group(group: h5py.Group, record: Any, attributes: Mapping[str, Any]) -> None:
    group.attrs.update({name: _storable(value) for name, value in attributes.items() if value is not None})
    every = [(field, getattr(record, field.name)) for field in described_fields(type(record), Array)]
    arrays = [(field, np.asarray(values)) for field, values in every if values is not None]
    coordinates = {field.name for field, _ in arrays if field.about.dims == (field.name,)}
    names = {field.name for field, _ in arrays}
    for field, values in arrays:
        dataset = _create_dataset(group, field.name, values, field.about.help, field.about.unit)
        if field.name in coordinates:
            dataset.make_scale(field.name)
    for field, values in arrays:
        for axis, dimension in enumerate(dimensions(type(record), field, names)):
            if dimension not in group:
                _create_dataset(group, dimension, np.arange(values.shape[axis]), "", "1").make_scale(dimension)
            if field.name not in coordinates:
                group[field.name].dims[axis].attach_scale(group[dimension])
    for number in described_fields(type(record), Scalar):
        if (value := getattr(record, number.name)) is not None:
            _create_dataset(group, number.name, np.asarray(value), number.about.help, number.about.unit)


def _storable(value: Any) -> Any:
    """A value as HDF5 can store it: what is no UTF-8 in a file's name is written as `\\udcff`, NUL as `\\x00`."""
    if not isinstance(value, str):
        return value
    return value.encode(errors="backslashreplace").decode().replace("\0", r"\x00")


def _create_dataset(group: h5py.Group, name: str, values: np.ndarray, help: str, unit: str) -> h5py.Dataset:
    filters = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
    is_flag, is_text = values.dtype == np.bool_, values.dtype.kind == "U"
    stored = values.astype(np.int8) if is_flag else values.astype(h5py.string_dtype()) if is_text else values
    large = stored.nbytes > MIN_COMPRESSED and not is_text
    dataset = group.create_dataset(name, data=stored, **(filters if large else {}))
    dataset.attrs.update({"long_name": help, **({} if is_text else {"units": unit})} if help else {})
    dataset.attrs.update(FLAG_ATTRIBUTES if is_flag else {})
    return dataset


def copy_of_results(path: Path) -> bytes:
    """A new image of a results file with all its groups: without what may be damaged between them."""
    with open_results(path) as source, _new_image() as target:
        for name in source:
            _copy_group(source[name], target.create_group(name))
        target.attrs[HISTORY] = str(source.attrs.get(HISTORY, ""))
        return _image_of(target)


def _copy_other_groups(path: Path, group: str, target: h5py.File) -> str:
    """Copies all groups of a file but one, and returns the file's history."""
    if not path.exists():
        return ""
    image = path.read_bytes() if is_written_here(path) else run_isolated(copy_of_results, path)
    with h5py.File(io.BytesIO(image), "r") as source:
        for name in source:
            if name != group:
                _copy_group(source[name], target.create_group(name))
        return str(source.attrs.get(HISTORY, ""))


def _new_image() -> h5py.File:
    """A file in memory."""
    return h5py.File("image", "w", driver="core", backing_store=False, libver=LIBVER)


def _image_of(file: h5py.File) -> bytes:
    file.flush()
    image: bytes = file.id.get_file_image()
    return image


def _copy_group(source: h5py.Group, target: h5py.Group) -> None:
    """Copies a group's data sets and attaches their scales anew: references point into the file that holds them."""
    target.attrs.update(source.attrs)
    for name, dataset in source.items():
        names = ("compression", "compression_opts", "shuffle", "fletcher32")
        filters = {key: getattr(dataset, key) for key in names} if dataset.chunks else {}
        copy = target.create_dataset(name, data=dataset[()], dtype=dataset.dtype, **filters)
        copy.attrs.update({key: value for key, value in dataset.attrs.items() if key not in SCALE_ATTRIBUTES})
        if dataset.is_scale:
            copy.make_scale(name)
    for name, dataset in source.items():
        for axis, dimension in enumerate(dataset.dims):
            for scale in dimension.values():
                target[name].dims[axis].attach_scale(target[scale.name.rpartition("/")[2]])
