"""Values of several checkpoints as columns: aligned by the labels of their dimensions, and filled up with NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.history.quantities import STEP, Quantity
from landscape.storage.write import Variable

AT_STEP = "_at_step"  # ends the name of coordinates that differ from checkpoint to checkpoint

Values = Sequence[Mapping[str, Any]]  # by name, of each checkpoint


def columns_of(rows: Values, quantities: Mapping[str, Quantity]) -> dict[str, Variable]:
    """A variable over the steps for every quantity, and the coordinates of the other dimensions.

    Words of a dimension, such as layers, may come in another order at every checkpoint: they are in the order of
    their first occurrence. Numbers of a dimension, such as radii, that change from step to step have the step as a
    dimension too, and `_at_step` behind their name.
    """
    labels = {name: _all_labels(name, rows) for name, about in quantities.items() if about.words}
    columns: dict[str, Variable] = {}
    for name, about in quantities.items():
        if about.words:
            columns[name] = Variable((name,), np.array(labels[name], dtype=str), about.help, about.unit)
            continue
        placed = [_by_label(row, name, about, labels) if name in row else None for row in rows]
        values = _stack(placed)
        if about.dims != (name,):
            columns[name] = Variable((STEP, *about.dims), values, about.help, about.unit)
        elif _same_everywhere(placed):
            columns[name] = Variable((name,), next(row for row in placed if row is not None), about.help, about.unit)
        else:
            columns[name + AT_STEP] = Variable((STEP, name), values, about.help, about.unit)
    return _same_lengths(columns)


def _all_labels(name: str, rows: Values) -> list[str]:
    return list(dict.fromkeys(str(label) for row in rows for label in row.get(name, ())))


def _by_label(row: Mapping[str, Any], name: str, about: Quantity, labels: Mapping[str, list[str]]) -> np.ndarray:
    """A value of one checkpoint, along dimensions of words in the order of all labels, with NaN where it has none."""
    values = np.asarray(row[name])
    for axis, dimension in enumerate(about.dims):
        if dimension not in labels or dimension not in row:
            continue
        places = [labels[dimension].index(str(label)) for label in row[dimension]]
        if places == list(range(len(labels[dimension]))):
            continue
        shape = (*values.shape[:axis], len(labels[dimension]), *values.shape[axis + 1 :])
        filled = np.full(shape, np.nan)
        np.moveaxis(filled, axis, 0)[places] = np.moveaxis(values, axis, 0)
        values = filled
    return values


def _stack(values: Sequence[np.ndarray | None]) -> np.ndarray:
    """The values of all checkpoints in one array; NaN fills up those that are shorter or absent."""
    present = [value for value in values if value is not None]
    shape = tuple(max(lengths) for lengths in zip(*(value.shape for value in present), strict=True))
    if len(present) == len(values) and all(value.shape == shape for value in present):
        return np.stack(present)
    stacked = np.full((len(values), *shape), np.nan)
    for place, value in enumerate(values):
        if value is not None:
            index: Any = (place, *(slice(length) for length in value.shape))
            stacked[index] = value
    return stacked


def _same_everywhere(values: Sequence[np.ndarray | None]) -> bool:
    present = [value for value in values if value is not None]
    return all(np.array_equal(value, present[0]) for value in present)


def _same_lengths(columns: Mapping[str, Variable]) -> dict[str, Variable]:
    """The columns, filled up with NaN where another one is longer along the same dimension."""
    lengths: dict[str, int] = {}
    for column in columns.values():
        for dimension, length in zip(column.dims, column.values.shape, strict=True):
            lengths[dimension] = max(length, lengths.get(dimension, 0))
    return {name: _lengthen(column, lengths) for name, column in columns.items()}


def _lengthen(column: Variable, lengths: Mapping[str, int]) -> Variable:
    shape = tuple(lengths[dimension] for dimension in column.dims)
    if column.values.shape == shape:
        return column
    values = np.full(shape, np.nan)
    values[tuple(slice(length) for length in column.values.shape)] = column.values
    return Variable(column.dims, values, column.help, column.unit)
