"""`landscape plot`: stored results are drawn again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import SAMPLES

from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_with_samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("LANDSCAPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES / "digits-mlp.pt", "a.pt")
    shutil.copytree(SAMPLES / "digits-mlp-trajectory", "run")


FEW = ["--limit", "60", "--grid", "9"]


def test_results_are_drawn_again_beside_each_other_and_as_solids(capsys: Captured) -> None:
    assert status(["surface", "a.pt", *FEW]) == 0
    assert status(["surface", "run/step-0840.pt", *FEW]) == 0
    assert status(["eig", "a.pt", "-k", "2", "--limit", "60", "--no-plot"]) == 0
    Path("a.surface.png").unlink()
    capsys.readouterr()
    assert status(["plot", "a.landscape.h5"]) == 0
    assert {"a.surface.png", "a.eig.png"} <= {path.name for path in Path().iterdir()}
    assert status(["plot", "a.landscape.h5", "--solid"]) == 0
    assert Path("a.surface-solid.png").exists()
    assert status(["plot", "a.landscape.h5", "run/step-0840.landscape.h5", "-o", "both.pdf"]) == 0
    assert Path("both.pdf").read_bytes().startswith(b"%PDF")
    assert status(["plot", "a.landscape.h5", "--analysis", "eig", "-o", "e.svg"]) == 0
    assert Path("e.svg").exists()
