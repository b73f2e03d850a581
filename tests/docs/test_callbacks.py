"""The page of callbacks runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, quiet_transformers
from page_blocks import run_blocks

from landscape.history import read_history


@pytest.mark.filterwarnings("ignore")  # those of Lightning, transformers and TensorBoard
def test_every_block_of_the_page_runs_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("tensorboard", "lightning", "accelerate", "transformers"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    with quiet_transformers():
        assert run_blocks((ROOT / "docs" / "callbacks.md").read_text()) == 4
    said = capsys.readouterr().out
    assert "step 80: largest eigenvalue" in said  # of the plain loop
    assert said.count("[4 8") == 1  # the steps of the Trainer
    assert "[ 4  8 12 16]" in said  # those of Lightning
    stored = read_history(tmp_path / "moons.track.h5")
    assert stored.steps.tolist() == [20, 40, 60, 80]
    assert [moment.trouble for moment in stored.moments] == [""] * 4
