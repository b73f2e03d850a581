"""Terminals and logs that cannot show every letter: the command neither ends nor writes what is no JSON."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES

import landscape
from landscape import Eig
from landscape.analyses import Progress
from landscape_cli import progress

NAME = "λ-run ✓.landscape.h5"  # of letters that no code page of Western Europe has


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a measurement whose numbers have errors."""
    folder = tmp_path_factory.mktemp("results")
    checkpoint = folder / "λ-run ✓.pt"
    shutil.copyfile(SAMPLES / "digits-mlp.pt", checkpoint)
    landscape.run(Eig(k=2), landscape.load(checkpoint, limit=20), output=folder / NAME)
    return folder


def printed(folder: Path, encoding: str, *words: str) -> bytes:
    """What the command prints where text has this encoding, and must be encoded strictly."""
    variables = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "landscape", *words]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(encoding)
    assert b"Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_results_are_shown_in_every_encoding(folder: Path, encoding: str) -> None:
    text = printed(folder, encoding, "show", NAME).decode(encoding)
    assert "eigenvalues" in text
    assert ("±" if encoding != "ascii" else r"\xb1") in text
    assert "\\u250" not in text  # lines of a table are hyphens there, not codes of letters


def test_json_is_json_in_every_encoding(folder: Path) -> None:
    assert "λ-run ✓" in json.loads(printed(folder, "cp1252", "inspect", "λ-run ✓.pt", "--json"))["path"]


def test_a_bar_is_drawn_with_what_the_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    with progress.reporter("eig a.pt") as report:
        report(Progress(2, 5, "17 products", dict))
    terminal.flush()
    assert "17 products" in terminal.buffer.getvalue().decode("cp1252")  # type: ignore[attr-defined]
