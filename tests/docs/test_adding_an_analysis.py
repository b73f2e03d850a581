"""The example of docs/adding-an-analysis.md, built from its page, satisfies the contract of analyses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES

PAGE = ROOT / "docs" / "adding-an-analysis.md"
BLOCK = re.compile(r"^```(python|markdown|diff)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Kind, file and text of every block that names its file in the first line."""
    return [match.groups() for match in BLOCK.finditer(PAGE.read_text())]  # type: ignore[misc]


def insert(path: Path, diff: str) -> None:
    """Puts each added line of the diff behind the line of context before it, which stands once in the file."""
    context = ""
    for line in diff.splitlines():
        if line.startswith("+"):
            text = path.read_text()
            assert text.count(f"\n{context}\n") == 1, context
            path.write_text(text.replace(f"\n{context}\n", f"\n{context}\n{line[1:]}\n"))
        else:
            context = line[1:]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library and of what its tests need, with the page's blocks in place."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("landscape", "cli", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (root / "sample_checkpoints").symlink_to(SAMPLES)
    shutil.copy(ROOT / "pyproject.toml", root)
    for kind, name, text in blocks():
        path = root / name
        if kind == "diff":
            insert(path, text)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return root


def execute(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'cli'}", "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    return subprocess.run([sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True)


def test_the_page_has_five_files_and_two_lines_elsewhere() -> None:
    files = [name for kind, name, _ in blocks() if kind != "diff"]
    added = [line for kind, _, text in blocks() if kind == "diff" for line in text.splitlines() if line[:1] == "+"]
    assert len(files) == 5
    assert len(added) == 2


@pytest.mark.slow
def test_the_example_satisfies_the_contract_of_analyses(tree: Path) -> None:
    run = execute(tree, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/analyses/test_frobenius.py")
    assert run.returncode == 0, run.stdout[-3000:]
    lint = execute(tree, "-m", "ruff", "check", "landscape", "tests/analyses/test_frobenius.py")
    assert lint.returncode == 0, lint.stdout


@pytest.mark.slow
def test_the_example_is_a_command_with_a_picture(tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    words = ("frobenius", str(SAMPLES / "digits-mlp.pt"), "--limit", "100", "--probes", "4", "-o", str(output))
    run = execute(tree, "-m", "landscape", *words)
    assert run.returncode == 0, run.stderr
    assert "norm" in run.stdout
    assert (tmp_path / "a.frobenius.png").read_bytes().startswith(b"\x89PNG")
    assert "--probes" in execute(tree, "-m", "landscape", "frobenius", "--help").stdout
