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
    assert loaded("import landscape, landscape.analyses, landscape.callbacks, landscape.conditions") == set()


def test_figures_are_imported_without_torch_and_matplotlib() -> None:
    assert loaded("from landscape import figures; figures.draw, figures.save, figures.Look") <= {"numpy", "h5py"}


WRONG_PATHS: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "page": b"<!DOCTYPE html><html>sign in</html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "array": b"\x93NUMPY\x01\x00",
    "text": b"epoch 1\n",
    "cut": b"PK\x03\x04" + bytes(200),
    "bare": b"\x80\x04\x95\x00.",
}


@pytest.mark.parametrize("command", ["eig", "surface", "sharpness", "edit", "inspect", "check"])
@pytest.mark.parametrize("content", [*WRONG_PATHS.values(), "directory"], ids=[*WRONG_PATHS, "directory"])
def test_a_path_that_is_no_checkpoint_is_answered_without_torch(
    content: bytes | str | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content == "directory":
        Path("a.pt").mkdir()
    elif isinstance(content, bytes):
        Path("a.pt").write_bytes(content)
    baseline = ["--against", str(SAMPLES / "baseline.json")] if command == "check" else []
    script = f"from landscape_cli.main import status; assert status([{command!r}, 'a.pt', *{baseline!r}]) == 2"
    assert "torch" not in loaded(script)


def test_several_paths_of_which_none_is_a_checkpoint_are_answered_without_torch(tmp_path: Path) -> None:
    first, second = str(tmp_path / "a.pt"), str(tmp_path / "b.pt")
    script = f"from landscape_cli.main import status; assert status(['eig', {first!r}, {second!r}]) == 2"
    assert "torch" not in loaded(script)


def test_results_are_shown_and_drawn_without_torch(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    landscape.run(Eig(k=2), landscape.load(SAMPLES / "digits-mlp.pt"), output=output)
    for command in ("show", "plot"):
        assert "torch" not in loaded(f"from landscape_cli.main import status; status([{command!r}, {str(output)!r}])")
    assert (tmp_path / "a.eig.png").read_bytes().startswith(b"\x89PNG")
