"""`landscape export`: surfaces for other programs."""

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


def test_exports(capsys: Captured) -> None:
    assert status(["surface", "a.pt", *FEW, "--no-plot", "--seeds", "2"]) == 0
    assert status(["export", "a.landscape.h5", "--vts", "--csv"]) == 0
    names = {path.name for path in Path().iterdir()}
    assert {f"a.surface-{n}.{kind}" for n in (0, 1) for kind in ("vts", "csv")} <= names
