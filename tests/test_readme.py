"""Every block of the README and of docs/start.md is run as a new user would, in order within each folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = {"landscape": [sys.executable, "-m", "landscape_cli"], "python": [sys.executable]}
FILE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")


PAGES = {"README.md": 7, "docs/start.md": 9}  # how many commands of a page run at least
SHELL = ("make", "source")  # what belongs to the clone


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text())


def run(command: list[str], folder: Path) -> None:
    own = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}  # a user's shell
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def in_order(steps: list[Callable[[], object]]) -> None:
    for step in steps:
        step()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sample_checkpoints", tmp_path / "sample_checkpoints")
    folder, steps = tmp_path, defaultdict[Path, list[Callable[[], object]]](list)
    commands = 0
    for language, text in blocks(page):
        named = FILE.match(text)
        if named:
            path = tmp_path / named[1]
            path.parent.mkdir(exist_ok=True)
            steps[path.parent].append(partial(path.write_text, text))
        elif language == "python":
            steps[folder].append(partial(run, [sys.executable, "-c", text], folder))
        elif language == "bash":
            for line in text.splitlines():
                first, *rest = [word.strip("'") for word in line.partition("#")[0].split()]
                if first == "cd":
                    folder = (folder / rest[0]).resolve()
                elif first not in SHELL:
                    steps[folder].append(partial(run, [*COMMANDS[first], *rest], folder))
                    commands += 1
    assert commands >= PAGES[page]
    with ThreadPoolExecutor() as pool:  # folders know nothing of one another
        list(pool.map(in_order, steps.values()))
    assert {"ckpt.landscape.h5", "ckpt.eig.png"} <= {path.name for path in (tmp_path / "my-project").iterdir()}


def test_its_make_targets_exist() -> None:
    shell = "\n".join(text for language, text in blocks("README.md") if language == "bash")
    targets = re.findall(r"^make (\w+)", shell, re.M)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test", "docs"]
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_every_link_and_picture_is_there() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150
