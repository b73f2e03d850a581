"""Describe without torch, compute with torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES

import landscape
from landscape import Eig

HEAVY = "torch matplotlib numpy h5py scipy pyhessian rich.console".split()


def loaded(code: str) -> set[str]:
    """Which heavy modules the code leaves in sys.modules of a fresh process."""
    script = f"import sys\n{code}\nprint('LOADED', *[name for name in {HEAVY} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return set(out.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("arguments", ["['--help']", "['eig', '--help']", "['--version']"])
def test_help_loads_nothing_heavy(arguments: str) -> None:
    assert loaded(f"from landscape_cli.main import status; status({arguments})") <= {"rich.console"}


def test_importing_the_library_loads_nothing_heavy() -> None:
    assert loaded("import landscape, landscape.analyses, landscape.conditions") == set()


def test_results_are_shown_and_drawn_without_torch(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    landscape.run(Eig(k=2), landscape.load(SAMPLES / "digits-mlp.pt"), output=output)
    for command in ("show", "plot"):
        assert "torch" not in loaded(f"from landscape_cli.main import status; status([{command!r}, {str(output)!r}])")
    assert (tmp_path / "a.eig.png").read_bytes().startswith(b"\x89PNG")
