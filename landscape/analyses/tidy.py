"""Results as tables in which each column is a quantity and each row an observation, and as data sets of xarray."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.errors import UsageError
from landscape.fields import Array, Described, Scalar, described_fields, dimensions
from landscape.plugins.optional import import_optional


@dataclass(frozen=True)
class TidyTable:
    """The quantities that have the same dimensions: columns of one length, those of the dimensions first.

    Without dimensions they are the scalars, in one row.
    """

    dims: tuple[str, ...]
    columns: Mapping[str, np.ndarray]

    @property
    def rows(self) -> int:
        """The number of observations."""
        return len(next(iter(self.columns.values())))

    def to_csv(self) -> str:
        """The table as comma-separated text."""
        return as_csv([list(self.columns), *zip(*(c.tolist() for c in self.columns.values()), strict=True)])


def as_csv(lines: Iterable[Iterable[Any]]) -> str:
    """Lines of values as comma-separated text; words that need it are in quotes, as RFC 4180 has it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def scalars_of(result: Any) -> dict[str, Any]:
    """The numbers of a result by name; those that it does not hold are left out."""
    every = {field.name: getattr(result, field.name) for field in described_fields(type(result), Scalar)}
    return {name: value for name, value in every.items() if value is not None}


def arrays_of(result: Any) -> dict[str, tuple[Described[Array], tuple[str, ...], np.ndarray]]:
    """The arrays of a result by name, each with its description and its dimensions; absent ones are left out."""
    kind = type(result)
    held = {f.name: (f, value) for f in described_fields(kind, Array) if (value := getattr(result, f.name)) is not None}
    return {name: (f, dimensions(kind, f, held), np.asarray(value)) for name, (f, value) in held.items()}


def tidy_tables(result: Any) -> dict[tuple[str, ...], TidyTable]:
    """The tables of a result by their dimensions, in the order of its fields; the scalars at the end, under ()."""
    arrays = arrays_of(result)
    coordinates = {name: array for name, (_, dims, array) in arrays.items() if dims == (name,)}
    groups: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
    for name, (_, dims, array) in arrays.items():
        if dims not in groups:
            axes = [coordinates.get(dim, np.arange(length)) for dim, length in zip(dims, array.shape, strict=True)]
            grids = np.meshgrid(*axes, indexing="ij")
            groups[dims] = dict(zip(dims, (grid.ravel() for grid in grids), strict=True))
        groups[dims][name] = array.ravel()
    if scalars := scalars_of(result):
        groups[()] = {name: np.array([value]) for name, value in scalars.items()}
    return {dims: TidyTable(dims, columns) for dims, columns in groups.items()}


def table_of(result: Any, dims: str | Sequence[str] | None) -> TidyTable:
    """The table with these dimensions, by default the first that is printed, or the first at all.

    Raises UsageError for dimensions that no quantity has.
    """
    tables = tidy_tables(result)
    if dims is None:
        printed = [(dimension,) for dimension in type(result).tables if (dimension,) in tables]
        return tables[printed[0] if printed else next(iter(tables))]
    wanted = (dims,) if isinstance(dims, str) else tuple(dims)
    if wanted not in tables:
        known = "; ".join(", ".join(each) or "()" for each in tables)
        raise UsageError(f"no quantity has the dimensions {', '.join(wanted) or '()'}", fix=f"one of {known}")
    return tables[wanted]


def to_dataframe(result: Any, dims: str | Sequence[str] | None) -> Any:
    """The table with these dimensions as a DataFrame of pandas; its `attrs` hold the scalars."""
    frame = optional_library("pandas").DataFrame(dict(table_of(result, dims).columns))
    frame.attrs.update(scalars_of(result))
    return frame


def to_xarray(result: Any) -> Any:
    """All arrays and scalars as a Dataset of xarray, with the attributes of the result."""
    every: dict[str, Array | Scalar] = {f.name: f.about for f in described_fields(type(result), Array)}
    every |= {f.name: f.about for f in described_fields(type(result), Scalar)}
    variables = {name: (dims, array) for name, (_, dims, array) in arrays_of(result).items()}
    variables |= {name: ((), np.asarray(value)) for name, value in scalars_of(result).items()}
    described = {
        name: (*parts, {"long_name": every[name].help, "units": every[name].unit}) for name, parts in variables.items()
    }
    return optional_library("xarray").Dataset(described, attrs=dict(result.attributes))


def optional_library(name: str) -> Any:
    """An optional library; raises UsageError if it cannot be imported."""
    return import_optional(name, "this form of the numbers", f"pip install {name}")
