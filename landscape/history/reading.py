"""Reads histories from files, with suspicion: what does not fit together is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import OutputError
from landscape.history.columns import AT_STEP
from landscape.history.history import History, Moment
from landscape.history.quantities import STEP, Quantity
from landscape.history.writing import DIGESTS, HISTORY, KIND, QUANTITIES
from landscape.storage.read import StoredResult, read_root

RESERVED = (STEP, "checkpoint", "trouble")
DAMAGED = "landscape track RUN/ --restart measures again"


def is_history(stored: StoredResult) -> bool:
    """Whether what a file holds outside of groups is a history."""
    return stored.attributes.get(KIND) == HISTORY


def history_of(stored: StoredResult, path: Path) -> History:
    """The history that a file holds; raises OutputError if it is damaged."""
    try:
        quantities = {
            name: Quantity(**{**about, "dims": tuple(about["dims"])})
            for name, about in json.loads(stored.attributes[QUANTITIES]).items()
        }
        digests = json.loads(stored.attributes[DIGESTS])
        steps, names, troubles = (stored.values[name].tolist() for name in RESERVED)
        rows = list(_rows(stored.values, quantities, len(steps)))
        parts = zip(steps, names, rows, troubles, digests, strict=True)
        moments = tuple(
            Moment(float(step), str(name), row, str(trouble), str(digest)) for step, name, row, trouble, digest in parts
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise OutputError(f"{path} is a damaged history: {type(error).__name__}: {error}", fix=DAMAGED) from error
    about = {name: value for name, value in stored.attributes.items() if name not in (KIND, QUANTITIES, DIGESTS)}
    return History(moments, quantities, about)


def read_history(path: str | Path) -> History:
    """The history in a file; raises OutputError if it holds another thing, or is damaged."""
    stored = read_root(Path(path))
    if not is_history(stored):
        raise OutputError(f"{path} is no history of a run", fix="landscape track RUN/ writes one")
    return history_of(stored, Path(path))


def _rows(
    values: Mapping[str, Any], quantities: Mapping[str, Quantity], steps: int
) -> Iterator[dict[str, np.ndarray | float]]:
    """The values of each checkpoint by name, without those that it does not have."""
    columns = {name: _column(name, about, values, steps) for name, about in quantities.items()}
    coordinates = {name for name, about in quantities.items() if about.dims == (name,)}
    for place in range(steps):
        row = {name: column[place] for name, column in columns.items() if column is not None}
        held = {name for name in row.keys() - coordinates if not _is_missing(row[name])}
        measured = {_analysis(name) for name in held}  # coordinates stand for all steps in the file
        kept = {
            name: v for name, v in row.items() if name in held or (name in coordinates and _analysis(name) in measured)
        }
        yield {name: value.item() if value.ndim == 0 else value for name, value in kept.items()}


def _analysis(name: str) -> str:
    return name.partition(".")[0]


def _column(name: str, about: Quantity, values: Mapping[str, Any], steps: int) -> np.ndarray | None:
    """The values of a quantity with the step as the first axis; None if the file has none."""
    if about.dims == (name,) and name + AT_STEP not in values:
        if name not in values:
            return None
        return np.broadcast_to(values[name], (steps, len(values[name])))
    stored = values.get(name + AT_STEP if about.dims == (name,) else name)
    if stored is None:
        return None
    column = np.asarray(stored)
    if column.shape[:1] != (steps,) or column.ndim != 1 + len(about.dims):
        raise ValueError(f"{name} has the shape {column.shape} at {steps} steps")
    return column


def _is_missing(value: np.ndarray) -> bool:
    return value.dtype.kind == "f" and bool(np.isnan(value).all())
