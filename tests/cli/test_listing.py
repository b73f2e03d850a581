"""`landscape check --list`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from gate_folders import FAST, Captured

from landscape.storage.read import read_results
from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")


def test_the_list_names_every_number_without_torch() -> None:
    script = (
        "import sys\nfrom landscape_cli.main import status\ncode = status(['check', '--list'])\n"
        "sys.exit(code if 'torch' not in sys.modules else 99)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "eig.eigenvalues[0] *" in done.stdout
    assert "gate on [0]" in done.stdout
    assert "surface.barrier" in done.stdout


def test_the_list_shows_values_where_there_are_results(known: str, capsys: Captured) -> None:
    assert status(["check", known, *FAST]) == 0
    value = read_results(Path("mlp.check.landscape.h5"))["eig"].values["eigenvalues"][0]
    capsys.readouterr()
    assert status(["check", known, "--list"]) == 0
    assert f"{value:.6g}" in capsys.readouterr().out
    for words in (["--from", "mlp.check.landscape.h5"], ["mlp.check.landscape.h5"]):
        assert status(["check", "--list", *words]) == 0
        assert f"{value:.6g}" in capsys.readouterr().out
    assert status(["check", "--list", "nope.pt"]) == 2
