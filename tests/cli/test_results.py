"""`landscape show`, and results files as the commands read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gate_folders import Captured

from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")
FILES = ("mlp.landscape.h5", "mlp.eig.png")


def test_it_prints_and_draws_what_was_stored(ckpt: Path, capsys: Captured) -> None:
    assert status(["eig", "mlp.pt", "-k", "2"]) == 0
    table = capsys.readouterr().out
    Path("mlp.eig.png").unlink()
    assert status(["show", "mlp.landscape.h5"]) == 0
    assert capsys.readouterr().out == table
    assert status(["plot", "mlp.landscape.h5"]) == 0
    assert capsys.readouterr().out == ""
    assert Path("mlp.eig.png").exists()
    assert status(["show", "mlp.landscape.h5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["analysis"] == "eig"
    assert len(shown["result"]["eigenvalues"]) == 2


def test_a_file_that_is_not_a_result_is_said(ckpt: Path, capsys: Captured) -> None:
    assert status(["show", "mlp.pt"]) == 2
    assert "not an HDF5 file" in capsys.readouterr().err
