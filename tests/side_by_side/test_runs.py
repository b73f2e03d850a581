"""Runs beside each other: their last and largest values, and how they were measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import landscape
from landscape.errors import UsageError
from landscape.history import History
from landscape.side_by_side import caveats_of_runs
from landscape.side_by_side.labels import labels_of_files, labels_of_runs


def made(run: str, *losses: float, **parts: object) -> History:
    history = History(attributes={"run": run, "measurement": json.dumps({"data": "d", **parts})})
    for step, loss in enumerate(losses):
        history = history.with_values(10 * step, f"{step}.pt", {"loss": loss})
    return history


def test_last_and_largest_values_stand_beside_each_other() -> None:
    table = landscape.compare(made("runs/sgd", 3.0, 1.0), made("runs/sam", 2.0, 2.5, 2.0))
    assert table.labels == ("sgd", "sam")
    rows = {row.metric: [cell.value for cell in row.cells] for row in table.rows}
    assert rows == {"last step": [10.0, 20.0], "loss, last": [1.0, 2.0], "loss, largest": [3.0, 2.5]}
    assert table.rows[1].cells[1].difference == 1.0
    assert table.reasons == ()


def test_runs_that_were_measured_otherwise_say_in_what() -> None:
    table = landscape.compare(made("a", 1.0), made("b", 1.0, data="e"))
    assert table.reasons == ("b was measured otherwise: data: e here, d there",)


def test_runs_are_compared_with_runs_and_under_names_of_their_own() -> None:
    with pytest.raises(UsageError, match="alone"):
        landscape.compare(made("a", 1.0), replace(made("b"), moments=()))
    with pytest.raises(UsageError, match="labels"):
        landscape.compare(made("a", 1.0), made("b", 1.0), labels=["x", "x"])


def test_labels_are_the_shortest_ends_of_folders_else_of_files() -> None:
    files = [Path("one.landscape.h5"), Path("two.landscape.h5")]
    assert labels_of_runs([made("x/sgd", 1.0), made("y/sgd", 1.0)], files) == ["x/sgd", "y/sgd"]
    assert labels_of_runs([made("x/sgd", 1.0), made("x/sgd", 1.0)], files) == ["one", "two"]
    assert labels_of_files([Path("a/run.landscape.h5"), Path("b/run.landscape.h5")]) == ["a/run", "b/run"]


def test_caveats_of_runs_name_each_other_measurement_once() -> None:
    histories = [made("a", 1.0), made("b", 1.0, data="e"), made("c", 1.0)]
    assert caveats_of_runs(histories, ["a", "b", "c"]) == ["b was measured otherwise: data: e here, d there"]
    assert caveats_of_runs([made("a", 1.0), made("b", 1.0)], ["a", "b"]) == []
