"""The versions that pyproject.toml allows are those that both files of constraints pin."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
TESTED = [Requirement(text) for text in (*PROJECT["dependencies"], *EXTRAS["dev"])]


def pins(name: str) -> dict[str, Version]:
    """The version of each distribution that a file of constraints pins."""
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    parts = [re.fullmatch(r"([\w.-]+)==(\S+)", line.partition(" #")[0].rstrip()) for line in lines]
    assert all(parts), lines
    return {canonicalize_name(part[1]): Version(part[2]) for part in parts if part}


@pytest.mark.parametrize("requirement", TESTED, ids=[one.name for one in TESTED])
def test_the_lowest_version_that_is_allowed_is_the_one_that_is_tested(requirement: Requirement) -> None:
    (bound,) = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
    assert pins("constraints-lowest.txt")[canonicalize_name(requirement.name)] == bound


def test_the_newest_tested_versions_are_allowed() -> None:
    newest = pins("constraints.txt")
    every = [Requirement(text) for text in (*PROJECT["dependencies"], *chain(*EXTRAS.values()))]
    known = [one for one in every if canonicalize_name(one.name) in newest]
    assert {"torch", "numpy", "h5py", "pytest"} <= {one.name for one in known}
    assert [str(one) for one in known if newest[canonicalize_name(one.name)] not in one.specifier] == []


def test_the_metadata_name_the_versions_of_python_and_the_license() -> None:
    prefix = "Programming Language :: Python :: 3."
    versions = [int(text.removeprefix(prefix)) for text in PROJECT["classifiers"] if text.startswith(prefix)]
    assert PROJECT["requires-python"] == f">=3.{min(versions)}"
    assert versions == list(range(min(versions), max(versions) + 1))
    assert PROJECT["license"] == "MIT"
    (author,) = PROJECT["authors"]
    assert author["name"] in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_build_backend_is_among_what_tests_need() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(tables["build-system"]["requires"]) <= set(EXTRAS["dev"])
