"""Writes results as HDF5: one group per analysis, with a dimension scale for every axis, as xarray and netCDF4 read it.

The whole file is made in memory and then replaced atomically.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Variable:
    """An array with the names of its dimensions, outermost first; one over itself alone is a coordinate."""

    dims: tuple[str, ...]
    values: np.ndarray
    help: str = ""
    unit: str = "1"


LIBVER = ("earliest", "v110")  # HDF5 1.10 and later, netCDF-C and h5netcdf read it
HISTORY = "history"  # attribute: the commands that wrote the file, the last one first
ANALYSIS = "analysis"  # the dimension of the variables in the root of a results file
OVERVIEW = {
    "loss": ("loss_value", "Mean loss at the checkpoint."),
    "wall_time_s": ("wall_time_s", "Seconds that the measurement took."),
}  # the numbers there, each with its attribute of groups
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
        earlier = "\n".join(filter(None, [_line_of_history(history), earlier_history]))
        _describe_file(file, earlier)
        _write_variables(file.create_group(group), variables_of(record), attributes)
        _write_variables(file, _overview(file), {})
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


def write_root(path: Path, variables: Mapping[str, Variable], attributes: Mapping[str, Any], history: str = "") -> None:
    """Replaces the file by one whose variables lie in its root, outside of groups; raises as `write_results`."""
    require_results_file(path)
    with _new_image() as file:
        _describe_file(file, _line_of_history(history))
        _write_variables(file, variables, attributes)
        image = _image_of(file)
    replace_file(path, image)
    remember_written(path)


def _describe_file(file: h5py.File, history: str) -> None:
    """Writes what every file of landscape's says of itself."""
    file.attrs.update(
        {
            "Conventions": "CF-1.11",
            MARK: provenance.SCHEMA,
            "title": "Geometry of a loss around a checkpoint",
            "source": f"loss-landscape-geometry {provenance.version_of('loss-landscape-geometry')}",
            HISTORY: _storable(history),
            "environment": json.dumps(provenance.environment(), sort_keys=True),
        }
    )


def _overview(file: h5py.File) -> dict[str, Variable]:
    """The analyses of a file with what all of them tell, for readers that open the root alone, as xarray does."""
    groups = dict(file.items())
    about = Variable(
        (ANALYSIS,), np.array(list(groups), dtype=str), "Analysis, whose result is in the group of its name."
    )
    overview = {ANALYSIS: about}
    for name, (attribute, help) in OVERVIEW.items():
        numbers = [float(group.attrs.get(attribute, np.nan)) for group in groups.values()]
        overview[name] = Variable((ANALYSIS,), np.array(numbers), help)
    done = [group.attrs.get("status") == "complete" for group in groups.values()]
    return {**overview, "conclusive": Variable((ANALYSIS,), np.array(done), "Whether the result is conclusive.")}


def _line_of_history(command: str) -> str:
    """When a command wrote a file."""
    return f"{provenance.now()} {command}".strip()


def variables_of(record: Any) -> dict[str, Variable]:
    """The arrays and scalars of a result as variables by name; absent ones are left out."""
    kind = type(record)
    every = [(field, getattr(record, field.name)) for field in described_fields(kind, Array)]
    arrays = [(field, np.asarray(values)) for field, values in every if values is not None]
    held = {field.name for field, _ in arrays}
    found = {
        field.name: Variable(dimensions(kind, field, held), values, field.about.help, field.about.unit)
        for field, values in arrays
    }
    for number in described_fields(kind, Scalar):
        if (value := getattr(record, number.name)) is not None:
            found[number.name] = Variable((), np.asarray(value), number.about.help, number.about.unit)
    return found


def _write_variables(group: h5py.Group, variables: Mapping[str, Variable], attributes: Mapping[str, Any]) -> None:
    group.attrs.update({name: _storable(value) for name, value in attributes.items() if value is not None})
    for name, variable in variables.items():
        dataset = _create_dataset(group, name, variable.values, variable.help, variable.unit)
        if variable.dims == (name,):
            dataset.make_scale(name)
    for name, variable in variables.items():
        for axis, dimension in enumerate(variable.dims):
            if dimension not in group:
                _create_dataset(group, dimension, np.arange(variable.values.shape[axis]), "", "1").make_scale(dimension)
            if variable.dims != (name,):
                group[name].dims[axis].attach_scale(group[dimension])


def _storable(value: Any) -> Any:
    """A value as HDF5 can store it: what is no UTF-8 in a file's name is written as `\\udcff`, NUL as `\\x00`."""
    if not isinstance(value, str):
        return value
    return value.encode(errors="backslashreplace").decode().replace("\0", r"\x00")


def _create_dataset(group: h5py.Group, name: str, values: np.ndarray, help: str, unit: str) -> h5py.Dataset:
    filters = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
    is_flag, is_text = values.dtype == np.bool_, values.dtype.kind == "U"
    stored = values.astype(np.int8) if is_flag else _as_texts(values) if is_text else values
    large = stored.nbytes > MIN_COMPRESSED and not is_text
    dataset = group.create_dataset(name, data=stored, **(filters if large else {}))
    dataset.attrs.update({"long_name": help, **({} if is_text else {"units": unit})} if help else {})
    dataset.attrs.update(FLAG_ATTRIBUTES if is_flag else {})
    return dataset


def _as_texts(values: np.ndarray) -> np.ndarray:
    """An array of texts as HDF5 can store it."""
    texts = np.array([_storable(text) for text in values.ravel().tolist()], dtype=object)
    return texts.reshape(values.shape).astype(h5py.string_dtype())


def copy_of_results(path: Path) -> bytes:
    """A new image of a results file with all its groups: without what may be damaged between them."""
    with open_results(path) as source, _new_image() as target:
        for name in _groups(source):
            _copy_group(source[name], target.create_group(name))
        target.attrs[HISTORY] = str(source.attrs.get(HISTORY, ""))
        return _image_of(target)


def _copy_other_groups(path: Path, group: str, target: h5py.File) -> str:
    """Copies all groups of a file but one, and returns the file's history."""
    if not path.exists():
        return ""
    image = path.read_bytes() if is_written_here(path) else run_isolated(copy_of_results, path)
    with h5py.File(io.BytesIO(image), "r") as source:
        for name in _groups(source):
            if name != group:
                _copy_group(source[name], target.create_group(name))
        return str(source.attrs.get(HISTORY, ""))


def _groups(file: h5py.File) -> list[str]:
    """The names of the groups of a file, those of its analyses."""
    return [name for name, member in file.items() if isinstance(member, h5py.Group)]


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
