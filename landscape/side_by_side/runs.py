"""Histories of several runs beside each other: their last and their largest values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from landscape.errors import UsageError
from landscape.gates.losses import COMPARABLE_LOSS_GAP, loss_reason
from landscape.gates.metric import RESULT_TYPES
from landscape.history import History
from landscape.history.description import MEASUREMENT, differences_in_measurement
from landscape.history.summary import headline_numbers, largest, last_known, value_at
from landscape.side_by_side.table import Cell, Row, SideBySide, apart_from


def compare_histories(histories: Sequence[Any], names: list[str]) -> SideBySide:
    """The last and the largest values of runs; raises UsageError if some are results of one checkpoint."""
    if not all(isinstance(one, History) and one.moments for one in histories):
        raise UsageError("histories of runs are compared with each other alone", fix="landscape compare RUN/ RUN/")
    if len(names) != len(histories) or len(set(names)) < len(names):
        raise UsageError(f"{len(set(names))} labels for {len(histories)} runs", fix="a label of its own for each")
    return SideBySide(tuple(names), tuple(_rows(histories, names)))


def caveats_of_runs(histories: Sequence[History], names: Sequence[str]) -> list[str]:
    """Why the numbers of runs may not be compared with those of the first, each reason once."""
    every = [*_other_measurements(histories, names), *_other_last_losses(histories, names)]
    return [reason for reason in dict.fromkeys(every) if reason]


def _rows(histories: Sequence[History], names: Sequence[str]) -> Iterator[Row]:
    """The last step, and the last and the largest value of each number that all runs have."""
    otherwise = ["", *_other_measurements(histories, names)]
    yield Row("last step", "", tuple(Cell(float(one.steps[-1])) for one in histories))
    for name, place, about in headline_numbers(histories):
        label = name + (f"[{place}]" if place is not None else "")
        for word, pick in (("last", last_known), ("largest", largest)):
            moments = [pick(one, name, place) for one in histories]
            pairs = list(zip(histories, moments, strict=True))
            cells = [Cell(*value_at(one, name, place, moment)) for one, moment in pairs]
            compared = [cells[0], *(apart_from(cell, cells[0]) for cell in cells[1:])]
            reasons = [
                otherwise[number]
                or (_earlier_step(label, *pair, names[number]) if word == "last" else "")
                or _other_loss(name, pairs[0], pair, names[0], names[number])
                for number, pair in enumerate(pairs)
            ]
            yield Row(
                f"{label}, {word}",
                about,
                tuple(replace(cell, reason=reason) for cell, reason in zip(compared, reasons, strict=True)),
            )


def _earlier_step(label: str, history: History, moment: int | None, name: str) -> str:
    """That the last value of a number is not of the run's last step; "" if it is, or if there is none."""
    steps = history.steps
    if moment is None or moment == len(steps) - 1:
        return ""
    return f"{name} has no {label} at its last step {steps[-1]:g}: the value is of step {steps[moment]:g}"


def _other_loss(
    quantity: str, first: tuple[History, int | None], own: tuple[History, int | None], base: str, name: str
) -> str:
    """Why a difference between two moments may only be one of the loss; "" if the losses are near, or do not matter."""
    kind = RESULT_TYPES.get(quantity.partition(".")[0])
    (history, moment), (other, theirs) = own, first
    if kind is None or not kind.follows_loss or moment is None or theirs is None or "loss" not in history:
        return ""
    mine, before = float(history["loss"][moment]), float(other["loss"][theirs])
    if not abs(mine - before) > COMPARABLE_LOSS_GAP * max(abs(mine), abs(before)):
        return ""
    reason = loss_reason(json.loads(str(history.attributes.get(MEASUREMENT, "{}"))).get("loss"))
    here, there = f"at step {history.steps[moment]:g}", f"at step {other.steps[theirs]:g}"
    return (
        f"the loss of {name} {here} is {mine:.4g}, of {base} {there} {before:.4g}: {reason}, so that beyond "
        f"{COMPARABLE_LOSS_GAP:.0%} a comparison says nothing"
    )


def _other_last_losses(histories: Sequence[History], names: Sequence[str]) -> list[str]:
    """The same of the last steps, for what all runs have."""
    found = []
    for quantity, place, _ in headline_numbers(histories):
        pairs = [(one, last_known(one, quantity, place)) for one in histories]
        others = zip(pairs[1:], names[1:], strict=True)
        found += [_other_loss(quantity, pairs[0], pair, names[0], name) for pair, name in others]
    return found


def _other_measurements(histories: Sequence[History], names: Sequence[str]) -> list[str]:
    """In what each other run was measured differently from the first; "" for those that were not."""
    pairs = zip(histories[1:], names[1:], strict=True)
    return [_other_measurement(one, histories[0], name) for one, name in pairs]


def _other_measurement(own: History, first: History, name: str) -> str:
    """In what two runs were measured differently; "" if they were not."""
    differences = differences_in_measurement({MEASUREMENT: str(own.attributes.get(MEASUREMENT, "{}"))}, first)
    return f"{name} was measured otherwise: {'; '.join(differences)}" if differences else ""
