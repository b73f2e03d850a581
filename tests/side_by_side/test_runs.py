"""Runs beside each other: their last and largest values, and how they were measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import landscape
from landscape.errors import UsageError
from landscape.history import History, Moment, Quantity
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


def of_steps(run: str, losses: dict[int, float], traces: dict[int, float], **parts: object) -> History:
    """A run with a loss at every step and a trace at some."""
    history = History(attributes={"run": run, "measurement": json.dumps({"data": "d", **parts})})
    about = {"trace.trace": Quantity((), error="trace.standard_error"), "trace.standard_error": Quantity(())}
    for step, loss in losses.items():
        numbers = {"loss": loss}
        if step in traces:
            numbers |= {"trace.trace": traces[step], "trace.standard_error": 0.1}
        history = history.with_moment(Moment(step, f"{step}.pt", numbers), about)
    return history


def test_a_value_that_is_not_of_the_last_step_says_of_which_it_is() -> None:
    first = of_steps("a", {0: 1.0, 20: 1.0}, {0: 5.0, 20: 4.0})
    second = of_steps("b", {0: 1.0, 20: 1.0}, {0: 7.0})
    rows = {row.metric: row.cells for row in landscape.compare(first, second).rows}
    assert rows["trace.trace, last"][1].value == 7.0
    assert "b has no trace.trace at its last step 20: the value is of step 0" in rows["trace.trace, last"][1].reason
    assert rows["loss, last"][1].reason == ""
    swapped = {row.metric: row.cells for row in landscape.compare(second, first).rows}
    assert "the value is of step 0" in swapped["trace.trace, last"][0].reason


def test_runs_at_other_losses_say_so_at_the_steps_that_are_compared() -> None:
    first = of_steps("a", {0: 2.0, 20: 0.5}, {0: 9.0, 20: 4.0}, loss="cross_entropy")
    second = of_steps("b", {0: 2.0, 20: 1.0}, {0: 8.0, 20: 7.0}, loss="cross_entropy")
    rows = {row.metric: row.cells[1] for row in landscape.compare(first, second).rows}
    said = "the loss of b at step 20 is 1, of a at step 20 0.5: cross-entropy flattens"
    assert said in rows["trace.trace, last"].reason
    assert rows["trace.trace, last"].difference == 3.0
    assert rows["trace.trace, largest"].reason == ""  # both are of step 0
    assert rows["loss, last"].reason == ""
    (caveat,) = caveats_of_runs([first, second], ["a", "b"])
    assert caveat == rows["trace.trace, last"].reason


def test_options_that_differ_are_named_alone() -> None:
    first = of_steps("a", {0: 1.0}, {0: 1.0}, trace={"rtol": 0.1, "seed": 0})
    second = of_steps("b", {0: 1.0}, {0: 1.0}, trace={"rtol": 0.05, "seed": 0})
    assert landscape.compare(first, second).reasons == ("b was measured otherwise: trace rtol: 0.05 here, 0.1 there",)
