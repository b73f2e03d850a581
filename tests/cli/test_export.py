"""`landscape export`: surfaces for other programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("folder_with_samples")
FEW = ["--limit", "60", "--grid", "9"]


def test_exports(capsys: Captured) -> None:
    assert status(["surface", "a.pt", *FEW, "--no-plot", "--seeds", "2"]) == 0
    assert status(["export", "a.landscape.h5", "--vts", "--csv"]) == 0
    names = {path.name for path in Path().iterdir()}
    assert {f"a.surface-{n}.{kind}" for n in (0, 1) for kind in ("vts", "csv")} <= names
