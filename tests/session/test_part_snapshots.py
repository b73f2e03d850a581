"""Unfinished work in parts: resumed with the same numbers, replaced as a whole, and deleted at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharded_models

import landscape
from landscape.errors import Interrupted, LandscapeError
from landscape.objective.sharded.objective import ShardedObjective
from landscape.session import unfinished
from landscape.session.driver import Session
from landscape.session.stop import StopSignals

ANALYSES: dict[str, Any] = {
    "eig": landscape.Eig(k=2),
    "trace": landscape.Trace(method="hutch++", max_products=40),
    "hutchinson": landscape.Trace(method="hutchinson", max_products=40),
}


def objective() -> ShardedObjective:
    return ShardedObjective(
        sharded_models.build("transformer"), sharded_models.MODELS["transformer"][1], "cross_entropy"
    )


def interrupt_after(steps: int, analysis: Any, output: Path) -> None:
    """Measures, with a snapshot after every step, and stops after some of them."""
    stop, done = StopSignals(), [0]

    def report(progress: object) -> None:
        done[0] += 1
        if done[0] == steps:
            stop.requested = 15

    with pytest.raises(Interrupted):
        Session(analysis, objective(), report, stop).measure_into(output)


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "MIN_SECONDS_AT_STAKE", 0.0)
    monkeypatch.setattr(unfinished, "SNAPSHOT_INTERVAL", 0)


def numbers(result: Any) -> list[Any]:
    return [getattr(result, name) for name in ("eigenvalues", "trace", "products") if hasattr(result, name)]


@pytest.mark.parametrize("name", ANALYSES)
def test_resumed_work_has_the_numbers_of_work_in_one_go(name: str, tmp_path: Path) -> None:
    analysis, output = ANALYSES[name], tmp_path / "a.landscape.h5"
    whole = landscape.run(analysis, objective())
    interrupt_after(3, analysis, output)
    snapshots = sorted(path.name for path in tmp_path.glob("*.partial"))
    assert snapshots[0] == f"a.{analysis.name}.partial"
    assert len(snapshots) == 2
    resumed = landscape.run(analysis, objective(), output=output)
    assert all(np.array_equal(a, b) for a, b in zip(numbers(resumed), numbers(whole), strict=True))
    assert bool(list(tmp_path.glob("*.partial"))) == bool(resumed.inconclusive())


def test_parts_that_are_missing_are_said(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    interrupt_after(3, ANALYSES["eig"], output)
    (parts,) = tmp_path.glob("*.parts-*.partial")
    (parts / ".metadata").unlink()
    with pytest.raises(LandscapeError):
        landscape.run(ANALYSES["eig"], objective(), output=output)


def test_work_of_whole_weights_is_not_resumed_in_parts(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    interrupt_after(3, ANALYSES["eig"], output)
    data = sharded_models.MODELS["transformer"][1]
    whole = landscape.Objective(sharded_models.build("transformer"), data, "cross_entropy")
    with pytest.raises(LandscapeError, match="unfinished work of another run"):
        landscape.run(ANALYSES["eig"], whole, output=output)
