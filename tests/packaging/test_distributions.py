"""What is released: the archive of sources holds every file of the repository, the wheel both packages and no more."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from conftest import ROOT

pytest.importorskip("setuptools", reason="setuptools, by which both are built, is not installed")
BUILD = """
from setuptools import build_meta
build_meta.build_sdist("dist")
build_meta.build_wheel("dist")
"""
MADE = {"PKG-INFO", "setup.cfg"}  # by the build, in the archive of sources


class Built(NamedTuple):
    """The files of the repository, those of both releases, and the wheel's entry points."""

    tracked: set[str]
    sources: set[str]
    wheel: set[str]
    entry_points: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    tree = tmp_path_factory.mktemp("tree")
    tracked = {name for name in tracked_files() if (ROOT / name).is_file()}
    for name in tracked:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    (tree / "docs" / "a.landscape.h5").touch()  # what a command has left behind is no part of a release
    (tree / "landscape" / "leftover.pyc").touch()
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (archive,), (wheel,) = (tree / "dist").glob("*.tar.gz"), (tree / "dist").glob("*.whl")
    with tarfile.open(archive) as sources:
        names = {str(PurePosixPath(*PurePosixPath(one.name).parts[1:])) for one in sources if one.isfile()}
    with zipfile.ZipFile(wheel) as packed:
        entry_points = next(name for name in packed.namelist() if name.endswith("entry_points.txt"))
        inside = {name for name in packed.namelist() if ".dist-info/" not in name}
        return Built(tracked, names, inside, packed.read(entry_points).decode())


def tracked_files() -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no clone: git has the list of files that the releases are compared with")
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip("\0").split("\0")


def test_the_archive_of_sources_holds_every_file_of_the_repository_and_nothing_else(built: Built) -> None:
    sources = {name for name in built.sources if ".egg-info/" not in name}
    assert sorted(built.tracked - sources) == []
    assert sorted(sources - built.tracked - MADE) == []


def test_the_wheel_holds_both_packages_and_nothing_else(built: Built) -> None:
    packages = {name for name in built.tracked if name.startswith("landscape/")}
    packages |= {name.removeprefix("cli/") for name in built.tracked if name.startswith("cli/landscape_cli/")}
    assert sorted(built.wheel ^ packages) == []
    assert {name for name in packages if not name.endswith(".py")} >= {"landscape/py.typed", "landscape/zoo/digits.npz"}


def test_the_wheel_brings_the_command_and_the_fixture_of_pytest(built: Built) -> None:
    assert "landscape = landscape_cli.entry:main" in built.entry_points
    assert "landscape = landscape_cli.pytest_plugin" in built.entry_points


def test_the_archive_can_be_tested(built: Built) -> None:
    """Its tests need samples, pages, the Makefile and what they are installed with."""
    needed = {"tests/conftest.py", "tests/cli/conftest.py", "sample_checkpoints/digits-mlp.pt", "docs/install.md"}
    assert needed | {"Makefile", "constraints.txt", "constraints-lowest.txt", "README.md", "LICENSE"} <= built.sources
    assert Path(ROOT / "MANIFEST.in").is_file()
