"""Every block of the README is run, in order, in an empty directory, as a new user would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = {"landscape": [sys.executable, "-m", "landscape_cli"], "python": [sys.executable]}
FILE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "README.md").read_text())


def run(command: list[str], folder: Path) -> None:
    own = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}  # a user's shell
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_checkpoints", tmp_path / "sample_checkpoints")
    folder, commands = tmp_path, 0
    for language, text in blocks():
        named = FILE.match(text)
        if named:
            (tmp_path / named[1]).parent.mkdir(exist_ok=True)
            (tmp_path / named[1]).write_text(text)
        elif language == "python":
            run([sys.executable, "-c", text], tmp_path)
        elif language == "bash":
            for line in text.splitlines():
                first, *rest = [word.strip("'") for word in line.partition("#")[0].split()]
                if first == "cd":
                    folder = folder / rest[0]
                elif first != "make":
                    run([*COMMANDS[first], *rest], folder)
                    commands += 1
    assert commands >= 9
    assert {"ckpt.landscape.h5", "ckpt.eig.png"} <= {path.name for path in (tmp_path / "my-project").iterdir()}
    assert {"described.landscape.h5", "block.eig.safetensors"} <= {path.name for path in tmp_path.iterdir()}


def test_its_make_targets_exist() -> None:
    targets = re.findall(r"^make (\w+)", "\n".join(text for language, text in blocks() if language == "bash"), re.M)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_every_link_and_picture_is_there() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
