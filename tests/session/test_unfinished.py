"""Snapshots: how often they are saved, and by which measurement they are resumed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from small_objectives import small_objective
from torch import nn

from landscape import Eig, session
from landscape.analyses import Progress
from landscape.errors import Interrupted, OutputError, UsageError
from landscape.session.stop import StopSignals
from landscape.storage.array_files import load_arrays, save_arrays
from landscape.storage.provenance import Fingerprint


def test_snapshots_cost_at_most_a_twentieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    saves: list[float] = []

    def save(path: Path, arrays: object, about: object) -> None:
        clock[0] += 1.0  # a save takes a second
        saves.append(clock[0])

    def tick(progress: Progress) -> None:
        clock[0] += 2.0  # and a product two

    monkeypatch.setattr("landscape.session.unfinished.save_arrays", save)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    session.execute(Eig(k=5), small_objective(), output=tmp_path / "a.landscape.h5", report=tick)
    assert len(saves) >= 2
    assert all(later - earlier >= 20 for earlier, later in pairwise(saves))


def test_a_snapshot_of_another_model_with_the_same_weights_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    with pytest.raises(Interrupted):
        session.execute(Eig(k=2), small_objective(), output=output, stop=session.StopSignals(requested=2))
    other = small_objective()
    other.model[1] = nn.ReLU()  # type: ignore[index]
    with pytest.raises(UsageError, match="loss: .*another model of the same weights"):
        session.execute(Eig(k=2), other, output=output)


def test_the_time_of_an_interrupted_run_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def tick(progress: Progress) -> None:
        clock[0] += 100.0

    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    output, stop = tmp_path / "a.landscape.h5", session.StopSignals()

    def interrupt(progress: Progress) -> None:
        tick(progress)
        stop.requested = 2

    with pytest.raises(Interrupted):
        session.execute(Eig(k=2), small_objective(), output=output, report=interrupt, stop=stop)
    clock[0] += 5000.0  # nobody is measuring meanwhile
    measurement = session.execute(Eig(k=2), small_objective(), output=output, report=tick)
    assert measurement.attributes["wall_time_s"] == 100.0 * measurement.result.products


def test_a_snapshot_of_another_version_is_no_snapshot(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    save_arrays(tmp_path / "a.eig.partial", {"basis": np.zeros(2)}, {"fingerprint": "{}"})
    with pytest.raises(OutputError, match=r"no snapshot of this version.*\n.*--restart"):
        session.execute(Eig(k=2), small_objective(), output=output)
    assert session.execute(Eig(k=2), small_objective(), output=output, restart=True).result.converged.all()


def test_a_snapshot_says_what_it_belongs_to(tmp_path: Path) -> None:
    objective = small_objective()
    with pytest.raises(Interrupted, match="the work is saved in .*a.eig.partial"):
        session.execute(Eig(k=2), objective, output=tmp_path / "a.landscape.h5", stop=StopSignals(requested=2))
    _, about = load_arrays(tmp_path / "a.eig.partial")
    assert float(about["loss"]) == objective.reference.loss
    assert Fingerprint.from_json(about["fingerprint"]).parts["k"] == 2
    with pytest.raises(UsageError, match=r"unfinished work of another run:\n    k: 3 here, 2 there"):
        session.execute(Eig(k=3), objective, output=tmp_path / "a.landscape.h5")
