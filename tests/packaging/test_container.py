"""The Dockerfile: nothing in it floats, nothing runs as root, and what it copies is there."""

from __future__ import annotations

import json
import re
import tomllib

from conftest import ROOT

TEXT = (ROOT / ".ci" / "Dockerfile").read_text(encoding="utf-8")
LINES = [re.sub(r"\s+", " ", line) for line in TEXT.replace("\\\n", "").splitlines() if line and line[0] != "#"]
IGNORED = (ROOT / ".ci" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()


def instructions(name: str) -> list[str]:
    """What follows this word in each of its lines."""
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{name} ")]


def test_the_image_below_is_one_patch_release() -> None:
    (default,) = [line for line in instructions("ARG") if line.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=3\.1[1-3]\.\d+-slim-\w+", default)
    assert {line.removesuffix(" AS build") for line in instructions("FROM")} == {"python:${PYTHON}"}


def test_every_version_is_that_of_the_constraints() -> None:
    installs = [part for line in instructions("RUN") for part in line.split("&&") if "pip install" in part]
    assert len(installs) == 2
    assert all("--no-cache-dir --constraint constraints.txt" in part for part in installs)
    assert "$(grep '^torch==' constraints.txt)${TORCH_INDEX:++cpu}" in installs[0]  # by default gigabytes of CUDA
    assert "--no-build-isolation" in installs[1]  # which would fetch the newest setuptools
    literal = re.findall(r"[\w-]+==[\d.]+", TEXT)
    assert literal == []


def test_the_command_runs_as_nobody_in_particular() -> None:
    last = LINES[LINES.index("FROM python:${PYTHON}") :]
    user = last.index("USER landscape")
    assert any("useradd" in line for line in last[:user])
    assert not [line for line in last[user:] if line.startswith(("RUN", "USER root", "COPY", "ADD"))]
    (entry,) = instructions("ENTRYPOINT")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert json.loads(entry)[0] in scripts
    assert json.loads(instructions("CMD")[0]) == ["--help"]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    sources = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert sorted(sources) == ["LICENSE", "README.md", "cli", "constraints.txt", "landscape", "pyproject.toml"]
    assert all((ROOT / source).exists() for source in sources)
    assert {f"!{source}" for source in sources} == {line for line in IGNORED if line.startswith("!")}
    assert "*" in IGNORED
