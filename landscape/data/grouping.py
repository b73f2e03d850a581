"""Samples of one data set by their class, or by a column of words or numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from landscape.data.batches import Batch
from landscape.data.items import LABEL_NAMES, PAIR_NAMES
from landscape.data.survey import Batches
from landscape.errors import TaskError, UsageError, listing, safe_excerpt

CLASS = "class"  # the name that stands for the classes of the targets
MAX_GROUPS = 100  # populations: more are no classes, but numbers of samples, and each is measured by itself
Value = str | int | float | bool


@dataclass(frozen=True)
class Group:
    """The samples with one value of a column, in their order, as batches."""

    batches: Batches
    by: str
    value: Value

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            places = [place for place, value in enumerate(_values(batch, self.by)) if value == self.value]
            if places:
                yield batch.take(places)


def group_samples(batches: Batches, by: str) -> dict[str, Group]:
    """The samples by their value of a column, by the value's name, in ascending order.

    `by` is `class`, the key of a dictionary, or the place in a tuple. Words are names themselves; other values follow
    the column's name (`class-3`). Raises UsageError for a column that does not exist or has too many values.
    """
    values: set[Value] = set()
    for batch in batches:
        values.update(_values(batch, by))
        if len(values) > MAX_GROUPS:
            raise UsageError(
                f"--by {safe_excerpt(by)} has more than {MAX_GROUPS} values", fix="a column with fewer values"
            )
    if any(value != value for value in values):
        raise UsageError(
            f"--by {safe_excerpt(by)}: that column is NaN for some samples", fix="a number for every sample"
        )
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    named = {_name(by, value): Group(batches, by, value) for value in ordered}
    if len(named) < len(ordered):
        raise UsageError(f"--by {safe_excerpt(by)}: two values have the same name", fix="rename one of them")
    return named


def has_column(batches: Batches, by: str) -> bool:
    """Whether the samples have a column of that name."""
    return by in _columns(next(iter(batches)))


def _name(by: str, value: Value) -> str:
    """The name of a group of samples."""
    if isinstance(value, str):
        return safe_excerpt(value)
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"{safe_excerpt(by)}-{number}"


def _values(batch: Batch, by: str) -> list[Value]:
    """The value of each sample of a batch; raises UsageError if they have none."""
    column = _classes(batch) if by == CLASS else _column(batch, by)
    if isinstance(column, Tensor):
        column = column.detach().cpu().reshape(-1).tolist() if column.numel() in (1, batch.size) else column
    elif isinstance(column, np.ndarray):
        column = column.tolist()
    values = list(column) if isinstance(column, list | tuple) else [column]
    if len(values) != batch.size or not all(isinstance(value, Value) for value in values):
        raise UsageError(
            f"--by {safe_excerpt(by)}: {'a batch, which is one unit,' if batch.unit else 'each sample'} needs one word "
            f"or number, and {len(values)} stand beside {batch.size} samples",
            fix=_choices(batch),
        )
    return values


def _classes(batch: Batch) -> Any:
    """The classes of the samples; raises TaskError if the targets are none."""
    targets = batch.targets if batch.targets is not None else _item_targets(batch.inputs)
    whole = isinstance(targets, Tensor) and not targets.is_floating_point() and not targets.is_complex()
    if not isinstance(targets, Tensor) or not whole or targets.numel() != batch.size:
        form = f"{tuple(targets.shape)} {targets.dtype}" if isinstance(targets, Tensor) else type(targets).__name__
        raise TaskError(
            f"--by class needs one class for each sample, and the targets are {form}", fix=_choices(batch, "COLUMN")
        )
    return targets


def _item_targets(item: Any) -> Any:
    """The targets of an item that an objective's function takes as it is; None if none are known."""
    if isinstance(item, Mapping):
        names = [*LABEL_NAMES, *(second for _, second in PAIR_NAMES)]
        return next((item[name] for name in names if name in item), None)
    return item[1] if isinstance(item, tuple | list) and len(item) > 1 else None


def _columns(batch: Batch) -> dict[str, Any]:
    """What stands in a batch by name, or by its place."""
    found: dict[str, Any] = {}
    for part in (batch.targets, batch.inputs):
        if isinstance(part, Mapping):
            found |= {str(name): value for name, value in part.items()}
        elif batch.targets is None and isinstance(part, tuple | list):
            found |= {str(place): value for place, value in enumerate(part)}
    return found


def _column(batch: Batch, by: str) -> Any:
    columns = _columns(batch)
    if by not in columns:
        raise UsageError(f"--by {safe_excerpt(by)}: the data have no column of that name", fix=_choices(batch))
    return columns[by]


def _choices(batch: Batch, word: str = "") -> str:
    """The columns that could be meant."""
    names = [name for name, value in _columns(batch).items() if _is_plain(value, batch.size)]
    if names:
        return f"one of {listing(map(safe_excerpt, names))}"
    beside = "dictionaries with a list of words beside the tensors (of text files: --padded)"
    return f"--by {word or CLASS}, or {beside}"


def _is_plain(value: Any, size: int) -> bool:
    """Whether a part of a batch could be a column."""
    if isinstance(value, Tensor):
        return value.numel() == size and not value.is_complex()
    if isinstance(value, list | np.ndarray):
        return len(value) == size
    return size == 1 and isinstance(value, Value)
