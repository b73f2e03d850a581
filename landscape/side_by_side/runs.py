"""Histories of several runs beside each other: their last and their largest values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from landscape.errors import UsageError
from landscape.history import History
from landscape.history.description import MEASUREMENT, differences_in_measurement
from landscape.history.summary import headline_numbers, largest_value, last_value
from landscape.side_by_side.table import Cell, Row, SideBySide, apart_from


def compare_histories(histories: Sequence[Any], names: list[str]) -> SideBySide:
    """The last and the largest values of runs; raises UsageError if some are results of one checkpoint."""
    if not all(isinstance(one, History) and one.moments for one in histories):
        raise UsageError("histories of runs are compared with each other alone", fix="landscape compare RUN/ RUN/")
    if len(names) != len(histories) or len(set(names)) < len(names):
        raise UsageError(f"{len(set(names))} labels for {len(histories)} runs", fix="a label of its own for each")
    return SideBySide(tuple(names), tuple(_rows(histories, _other_measurements(histories, names))))


def caveats_of_runs(histories: Sequence[History], names: Sequence[str]) -> list[str]:
    """Why the numbers of runs may not be compared with those of the first, each reason once."""
    return [reason for reason in dict.fromkeys(_other_measurements(histories, names)) if reason]


def _other_measurements(histories: Sequence[History], names: Sequence[str]) -> list[str]:
    """In what each other run was measured differently from the first; "" for those that were not."""
    pairs = zip(histories[1:], names[1:], strict=True)
    return [_other_measurement(one, histories[0], name) for one, name in pairs]


def _rows(histories: Sequence[History], reasons: Sequence[str]) -> Iterator[Row]:
    """The last step, and the last and the largest value of each number that all runs have."""
    yield Row("last step", "", tuple(Cell(float(one.steps[-1])) for one in histories))
    for name, place, about in headline_numbers(histories):
        label = name + (f"[{place}]" if place is not None else "")
        for word, pick in (("last", last_value), ("largest", largest_value)):
            first, *others = (Cell(*pick(one, name, place)) for one in histories)
            apart = [apart_from(cell, first) for cell in others]
            cells = [replace(cell, reason=reason) for cell, reason in zip(apart, reasons, strict=True)]
            yield Row(f"{label}, {word}", about, (first, *cells))


def _other_measurement(own: History, first: History, name: str) -> str:
    """In what two runs were measured differently; "" if they were not."""
    differences = differences_in_measurement({MEASUREMENT: str(own.attributes.get(MEASUREMENT, "{}"))}, first)
    return f"{name} was measured otherwise: {'; '.join(differences)}" if differences else ""
