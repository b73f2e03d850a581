"""The GPU check stops its parts in time, and does not repeat what is done at the same commit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("harness", "gpu_check"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import gpu_check

    return gpu_check  # type: ignore[no-any-return]


def test_a_part_that_takes_too_long_is_ended_with_its_children(gpu_check: ModuleType) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    outcome = gpu_check.run(gpu_check.Part("endless", ("-c", code), 3), 3)  # returns once no child holds its output
    assert outcome["status"] == "not done in 3 s"


@pytest.mark.parametrize(("code", "status"), [("pass", "passed"), ("raise SystemExit(5)", "exit code 5")])
def test_a_part_says_how_it_ended(gpu_check: ModuleType, code: str, status: str) -> None:
    assert gpu_check.run(gpu_check.Part("short", ("-c", code), 60), 60)["status"] == status


def test_only_parts_that_passed_at_this_commit_are_not_repeated(gpu_check: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "cuda.json"
    parts = {"a": {"status": "passed"}, "b": {"status": "not done in 60 s"}}
    report.write_text(json.dumps({"commit": "abc", "parts": parts}))
    assert gpu_check.earlier(report, "abc") == {"a": {"status": "passed"}}
    assert gpu_check.earlier(report, "def") == {}
    assert gpu_check.earlier(tmp_path / "none.json", "abc") == {}


def test_every_part_names_a_table_that_its_benchmark_has(gpu_check: ModuleType) -> None:
    parts = gpu_check.figures("cpu")
    assert sum(part.limit for part in parts[:6]) + gpu_check.CORRECTNESS_SECONDS <= 480  # the first six have their time
    for part in parts:
        benchmark, title = ROOT / part.command[0], part.command[-1]
        assert title.removeprefix("Products: ") in benchmark.read_text(), part.name
