"""Checkpoints that change, fail or are cut off while a run is measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from tracked_runs import FEW, make_run, measured

import landscape
from landscape.errors import Interrupted
from landscape.history import read_history
from landscape.tracking import tracker


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_a_checkpoint_that_has_changed_is_measured_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = run / "track.landscape.h5"
    before = landscape.track(run, output=output, **FEW)
    shutil.copy(run / "step-0840.pt", run / "step-0084.pt")
    names = measured(monkeypatch)
    after = landscape.track(run, output=output, **FEW)
    assert names == ["step-0084.pt"]
    assert after["loss"][1] == before["loss"][3]


def test_what_cannot_be_measured_is_a_trouble_and_the_others_go_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = torch.load(run / "step-0084.pt")
    next(iter(content["state_dict"].values()))[0] = torch.nan
    torch.save(content, run / "step-0084.pt")
    (run / "step-0420.pt").write_text("half a file")
    output = run / "track.landscape.h5"
    history = landscape.track(run, output=output, **FEW)
    assert np.isfinite(history["loss"]).tolist() == [True, False, False, True]
    assert "NaN" in history["trouble"][1]
    assert history["trouble"][2]
    shutil.copy(SAMPLES / "digits-mlp-trajectory/step-0420.pt", run)
    names = measured(monkeypatch)
    mended = landscape.track(run, output=output, **FEW)
    assert names == ["step-0420.pt"]  # the file with NaN is still the same
    assert np.isfinite(mended["loss"]).tolist() == [True, False, True, True]


def test_an_interrupted_run_keeps_what_it_has(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, begun = run / "track.landscape.h5", 0

    def execute(analysis: Any, objective: Any, **named: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == 3:
            raise Interrupted(2, "stopped")
        return landscape.session.execute(analysis, objective, **named)  # type: ignore[attr-defined]

    monkeypatch.setattr(tracker, "execute", execute)
    with pytest.raises(Interrupted):
        landscape.track(run, output=output, **FEW)
    assert read_history(output).steps.tolist() == [0, 84]
