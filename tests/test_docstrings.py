"""The examples in docstrings run, and what users call directly has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from conftest import SAMPLES

import landscape
from landscape.conditions import Conditions
from landscape.losses import as_loss

CALLED = {name: getattr(landscape, name) for name in landscape.__all__} | {"Conditions": Conditions, "as_loss": as_loss}
TOLERANT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> Iterator[str]:
    """Every module of the library."""
    for found in pkgutil.walk_packages(landscape.__path__, "landscape."):
        if found.name != "landscape.__main__":
            yield found.name


def examples(module: ModuleType) -> list[doctest.DocTest]:
    """The docstrings of the module's own objects that hold examples."""
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return [test for test in found if test.examples]


def run(test: doctest.DocTest) -> list[str]:
    """What the examples print that they should not; each runs in the folder of the samples."""
    said: list[str] = []
    doctest.DocTestRunner(optionflags=TOLERANT, verbose=False).run(test, out=said.append)
    return said


WITH_EXAMPLES = [name for name in modules() if ">>>" in (Path(importlib.util.find_spec(name).origin).read_text())]  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for sample in SAMPLES.iterdir():  # so that what an example writes stays out of the repository
        (tmp_path / sample.name).symlink_to(sample)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("landscape.errors._SPEAKS_FLAGS", [False])  # they are Python's
    tests = examples(importlib.import_module(name))
    assert tests
    assert [line for test in tests for line in run(test)] == []


@pytest.mark.parametrize("name", CALLED)
def test_what_users_call_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(CALLED[name]) or "")


@pytest.mark.parametrize("name", CALLED)
def test_what_users_call_names_the_errors_that_it_raises(name: str) -> None:
    if inspect.isfunction(CALLED[name]):
        assert "Raises" in (inspect.getdoc(CALLED[name]) or "") or "raises" in (inspect.getdoc(CALLED[name]) or "")
