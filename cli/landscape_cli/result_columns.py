"""The columns of a result's tables: which fields stand in them, what they are called, and the texts of their cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from landscape.analyses import Result
from landscape.analyses.numbers import SHORT, is_standard_error, number, with_error
from landscape.fields import ERROR_SUFFIX, Array, Described, Scalar, described_fields, gauge_of, number_fields
from landscape_cli.tables import safe

# fields of results keep the spelling of the first version, in which results files store them
PRESENT_SPELLINGS = {"memorised": "memorized", "normalised": "normalized", "centre": "center"}
HEADER_WIDTH = 12  # characters of a header's line: longer ones make columns wider than their numbers
NOT_APPLICABLE = "-"  # in the place of a number that a row has not


def columns_table(rows: list[tuple[str, Result, float]], dimension: str, *, details: bool = True) -> Table:
    """The arrays over one dimension side by side; its names, or numbers from 0, come first.

    An array over a dimension `across` the table and this one has a column for each entry of the former. Columns of
    NaN alone, which do not apply, are left out, and without `details` those that explain others.
    """
    kind, several = type(rows[0][1]), len(rows) > 1
    columns = [column for field in _shown(rows, dimension, details=details) for column in _spread(rows, field)]
    table = Table(box=box.SIMPLE_HEAD)
    if several:
        table.add_column("checkpoint", overflow="fold")
    table.add_column(dimension, justify="left" if _has_names(kind, dimension) else "right", overflow="fold")
    for name, entry in columns:
        table.add_column(_header(kind, dimension, name, entry), justify="right", no_wrap=True)
    for checkpoint, result, _ in rows:
        for cells in _cells(result, dimension, columns):
            table.add_row(*([safe(checkpoint)] if several else []), *cells)
    return table


def _shown(rows: list[tuple[str, Result, float]], dimension: str, *, details: bool) -> list[Described[Array]]:
    """The fields that stand in the table, but for errors, which stand behind their numbers."""
    kind = type(rows[0][1])
    over = {(across, dimension) for across in kind.across if across != dimension}
    fields = [
        f for f in described_fields(kind, Array) if f.about.dims == (dimension,) and (details or not f.about.detail)
    ]
    fields += [f for f in described_fields(kind, Array) if f.about.dims in over and not f.about.detail]
    held = [f for f in fields if f.name != dimension and any(_is_known(result, f.name) for _, result, _ in rows)]
    behind = {error_field(kind, f.name) for f in held}
    return [f for f in held if f.name not in behind]


def _has_names(kind: type[Result], dimension: str) -> bool:
    """Whether the entries of a dimension have names or numbers of their own."""
    return any(field.name == dimension for field in described_fields(kind, Array))


def _header(kind: type[Result], dimension: str, name: str, entry: str) -> str:
    """The lines above a column: its label, that of its error, and the entry across the table."""
    error = error_field(kind, name)
    behind = f"± {label(kind, error, dimension)}" if error else ""
    return "\n".join(filter(None, [*wrap(safe(label(kind, name, dimension)), HEADER_WIDTH), behind, safe(entry)]))


def _cells(result: Result, dimension: str, columns: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    """The texts of each row of a result; none if it does not hold the first column."""
    values = [_entry(result, *column) for column in columns]
    if not values or values[0] is None:
        return
    errors = [_error_entry(result, *column) for column in columns]
    length = len(values[0])
    entries: Any = getattr(result, dimension) if _has_names(type(result), dimension) else range(length)
    for index, entry in zip(range(length), entries, strict=True):
        row = number(float(entry)) if isinstance(entry, np.floating) else safe(str(entry))
        texts = [
            _cell(result, name, column, error, index)
            for (name, _), column, error in zip(columns, values, errors, strict=True)
        ]
        yield [row, *texts]


def _is_known(result: Result, name: str) -> bool:
    """Whether a result has this array, and a number in it; where losses are not finite, NaN is what was measured."""
    values = getattr(result, name)
    if values is None or np.asarray(values).dtype.kind != "f":
        return values is not None
    return not np.size(values) or not np.isnan(values).all() or _measures_nan(result)


def _measures_nan(result: Result) -> bool:
    """Whether NaN in the result is an outcome, and does not stand for what does not apply."""
    trouble = result.trouble()
    return trouble is not None and trouble.kind == "not finite"


def _spread(rows: list[tuple[str, Result, float]], field: Described[Array]) -> list[tuple[str, str]]:
    """The columns that an array takes: its name, with an entry of the dimension across if it has one."""
    if len(field.about.dims) == 1:
        return [(field.name, "")]
    entries = [str(entry) for _, result, _ in rows for entry in getattr(result, field.about.dims[0])]
    return [(field.name, entry) for entry in dict.fromkeys(entries)]


def _entry(result: Result, name: str, entry: str) -> Any:
    """A column of a result; None if the result has no such column."""
    values = getattr(result, name)
    if values is None or not entry:
        return values
    dims = next(f.about.dims for f in described_fields(type(result), Array) if f.name == name)
    found = np.flatnonzero(np.asarray(getattr(result, dims[0])).astype(str) == entry)
    return values[found[0]] if len(found) else None


def _error_entry(result: Result, name: str, entry: str) -> Any:
    """The errors of a column of a result; None if it has none."""
    field = error_field(type(result), name)
    return _entry(result, field, entry) if field else None


def _cell(result: Result, name: str, column: Any, errors: Any, index: int) -> str:
    """The text of a number in a table, with its error behind it if it has one; a dash for what does not apply."""
    if column is None:
        return ""
    kind, value, error = type(result), column[index], None if errors is None else errors[index]
    if isinstance(value, float | np.floating) and math.isnan(value) and not _measures_nan(result):
        return NOT_APPLICABLE
    if error is None:
        return describe_number(kind, name, value)
    bound = not is_standard_error(error_field(kind, name))
    return with_error(
        float(value), float(error), bound=bound, percent=description(kind, name).percent, undetermined=SHORT
    )


def error_field(kind: type[Result], name: str) -> str:
    """The field with the error that is printed behind a number, over the same dimensions; "" without one."""
    numbers = number_fields(kind)
    error = gauge_of(kind, name).error if name in numbers else ""
    if error not in numbers or getattr(numbers[name], "dims", ()) != getattr(numbers[error], "dims", ()):
        return ""
    return error


def description(kind: type[Result], name: str) -> Scalar | Array:
    return number_fields(kind)[name]


def describe_number(kind: type[Result], name: str, value: Any) -> str:
    """The text of a number that has no error."""
    return safe(number(value, percent=name in number_fields(kind) and description(kind, name).percent))


def label(kind: type[Result], name: str, dimension: str = "") -> str:
    """What a number is called in the table of a dimension: its label, else its name without that of the dimension."""
    own = next((f.about.label for f in described_fields(kind, Array) if f.name == name), "")
    own = own or next((f.about.label for f in described_fields(kind, Scalar) if f.name == name), "")
    short = name.removeprefix(f"{dimension}_") if dimension else name
    return own or ("standard error" if short.endswith(ERROR_SUFFIX) else _words(short))


def _words(name: str) -> str:
    """The name of a field as words, in their present spelling."""
    return " ".join(PRESENT_SPELLINGS.get(word, word) for word in name.split("_"))
