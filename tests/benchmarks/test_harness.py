"""Figures are written with the machine and the commit; tables measured one at a time are gathered in one file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "harness", raising=False)
    import harness

    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr("os.sched_setaffinity", lambda process, cores: None)  # or the tests after this share one core
    return harness  # type: ignore[no-any-return]


def measure(harness: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, dict[str, float]]:
    """The figures in the file after the tables that the words choose are measured."""
    monkeypatch.setattr(sys, "argv", ["bench", "--threads", "1", *words])
    tables = {"first": lambda device, repeats: {"a": 1.0}, "second": lambda device, repeats: {"a": float(repeats)}}
    harness.main("trial", tables)
    written = json.loads((harness.RESULTS / "trial-cpu.json").read_text())
    assert written["about"]["commit"] == harness.commit()
    assert written["about"]["machine"]["threads"] == 1
    figures: dict[str, dict[str, float]] = written["figures"]
    return figures


def test_all_tables_are_written(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure(harness, monkeypatch, "--repeats", "2") == {"first": {"a": 1.0}, "second": {"a": 2.0}}


def test_one_table_is_added_to_those_of_the_same_commit(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure(harness, monkeypatch, "--only", "first") == {"first": {"a": 1.0}}
    both = measure(harness, monkeypatch, "--only", "second", "--repeats", "5")
    assert both == {"first": {"a": 1.0}, "second": {"a": 5.0}}
    monkeypatch.setattr(harness, "commit", lambda: "another")
    assert measure(harness, monkeypatch, "--only", "first") == {"first": {"a": 1.0}}


def test_tables_that_take_long_have_a_file_of_their_own(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_one(name: str) -> harness.Measure:  # type: ignore[name-defined]
        return lambda device, repeats: {name: 1.0}

    def names(*words: str) -> set[str]:
        monkeypatch.setattr(sys, "argv", ["bench", "--threads", "1", *words])
        kinds = {kind: {f"the {kind} one": measure_one(kind)} for kind in ("quick", "long", "study")}
        harness.main("trial", kinds["quick"], kinds["study"], long=kinds["long"])
        written = {path.name: json.loads(path.read_text())["figures"] for path in harness.RESULTS.iterdir()}
        for path in harness.RESULTS.iterdir():
            path.unlink()
        return {f"{name}: {title}" for name, tables in written.items() for title in tables}

    assert names() == {"trial-cpu.json: the quick one"}
    assert names("--long") == {"trial-long-cpu.json: the long one"}
    assert names("--studies") == {"trial-studies-cpu.json: the study one"}
    assert names("--only", "the long") == {"trial-long-cpu.json: the long one"}
    assert names("--only", "the") == {"trial-cpu.json: the quick one", "trial-long-cpu.json: the long one"}
    assert names("--only", "nothing") == set()
