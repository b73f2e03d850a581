"""What the limits of the process and of its cgroups leave free."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.compute import memory_limits
from landscape.compute.memory_limits import UNLIMITED, free_in_cgroup, free_in_process


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a root of cgroups, and one for the files of the process."""
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "process").mkdir()
    monkeypatch.setattr(memory_limits, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory_limits, "PROCESS", tmp_path / "process")
    return tmp_path


def write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_the_limits_of_a_process_bound_what_it_may_allocate(limit: str) -> None:
    code = f"""
import resource
from landscape.compute.memory_limits import UNLIMITED, free_in_process
assert free_in_process() == UNLIMITED
resource.setrlimit(resource.{limit}, (3 << 30, resource.RLIM_INFINITY))
before = free_in_process()
assert 2 << 30 < before < 3 << 30
held = bytearray(1 << 30)
assert abs(before - free_in_process() - (1 << 30)) < 1 << 20
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_above_its_limit_has_nothing_free(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "process" / "statm").write_text("1000 1 1 1 0 10 0")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (4096, 4096))
    assert free_in_process() == 0


def test_without_proc_there_is_no_limit(system: Path) -> None:
    assert free_in_process() == UNLIMITED
    assert free_in_cgroup() == UNLIMITED


def test_the_tightest_of_the_nested_cgroups_counts(system: Path) -> None:
    (system / "process" / "cgroup").write_text("0::/user/job\n")
    write(system / "cgroup", memory__max="90", memory__current="10")
    write(system / "cgroup/user", memory__max="50", memory__current="20")
    write(system / "cgroup/user/job", memory__max="max", memory__current="20")
    assert free_in_cgroup() == 30


def test_the_root_counts_where_a_container_does_not_show_the_process_s_own_folder(system: Path) -> None:
    (system / "process" / "cgroup").write_text("0::/../../host/job\n")
    write(system / "cgroup", memory__max="90", memory__current="10")
    assert free_in_cgroup() == 80


def test_the_cache_of_files_is_free(system: Path) -> None:
    write(system / "cgroup", memory__max="90", memory__current="70", memory__stat="anon 5\ninactive_file 60\n")
    assert free_in_cgroup() == 80


def test_limits_of_version_1_count(system: Path) -> None:
    (system / "process" / "cgroup").write_text("5:cpu:/a\n4:memory:/docker/x\n0::/\n")
    write(system / "cgroup/memory/docker/x", memory__limit_in_bytes="70", memory__usage_in_bytes="30")
    assert free_in_cgroup() == 40


@pytest.mark.parametrize(("limit", "flag"), [("RLIMIT_AS", "-v"), ("RLIMIT_DATA", "-d")])
def test_limits_that_torch_would_not_survive_are_refused_before_it_is_loaded(limit: str, flag: str) -> None:
    code = f"""
import resource, sys
from landscape.compute.memory_limits import require_room_for_libraries
from landscape.errors import OutOfMemory
require_room_for_libraries()
resource.setrlimit(resource.{limit}, (200 << 20, resource.RLIM_INFINITY))
try:
    require_room_for_libraries()
except OutOfMemory as error:
    print(error.fix)
resource.setrlimit(resource.{limit}, (64 << 30, resource.RLIM_INFINITY))
require_room_for_libraries()
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"a larger limit (ulimit {flag})\n"
