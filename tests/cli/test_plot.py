"""`landscape plot`: stored results are drawn again."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("folder_with_samples")
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
    assert status(["plot", "a.landscape.h5", "--barcode"]) == 0
    assert Path("a.surface-barcode.png").exists()
    assert status(["plot", "a.landscape.h5", "run/step-0840.landscape.h5", "-o", "both.pdf"]) == 0
    assert Path("both.pdf").read_bytes().startswith(b"%PDF")
    assert status(["plot", "a.landscape.h5", "--analysis", "eig", "-o", "e.svg"]) == 0
    assert Path("e.svg").exists()
