"""Drafts of killed processes go; those of living ones and files of others stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from storage_records import write_record

from landscape.gates.baseline import Baseline, write_baseline
from landscape.storage.atomic_files import draft_folder
from landscape.storage.drafts import remove_stale_drafts
from landscape.storage.lock import hold_lock
from landscape.storage.paths import drafts_of, drafts_of_results


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_draft_goes_with_its_process(tmp_path: Path, dead: int) -> None:
    stale, own = tmp_path / f".a.json.{dead}.tmp", tmp_path / f".a.json.{os.getpid()}.tmp"
    for path in (stale, own):
        path.touch()
    remove_stale_drafts(tmp_path, drafts_of(tmp_path / "a.json"))
    assert list(tmp_path.iterdir()) == [own]


def test_a_folder_is_removed_and_a_link_to_one_is_not_followed(tmp_path: Path, dead: int) -> None:
    (tmp_path / f".a.{dead}.tmp").mkdir()
    (tmp_path / f".a.{dead}.tmp" / "shard").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / f".a.0{dead}.tmp").symlink_to("kept")
    remove_stale_drafts(tmp_path, drafts_of(tmp_path / "a"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").exists()


def test_a_folder_that_is_missing_has_no_drafts(tmp_path: Path) -> None:
    remove_stale_drafts(tmp_path / "missing", drafts_of(tmp_path / "a"))


def test_the_drafts_of_results_are_those_of_all_their_companions_and_of_no_other_results(
    tmp_path: Path, dead: int
) -> None:
    ours = [
        "run.landscape.h5", "run.eig.partial", "run.eig.safetensors", "run.factors.safetensors",
        "run.surface-solid.png", "run.density.pdf", "run.edited", "run.edited.safetensors",
        "run.undo.safetensors", "run.surface.csv", "run.eig.iteration.rank.csv",
    ]  # fmt: skip
    others = ["run.b.landscape.h5", "run.b.eig.partial", "run.pt", "runs.landscape.h5", "rune.eig.partial", "run"]
    for name in (*ours, *others):
        (tmp_path / f".{name}.{dead}.tmp").touch()
    (tmp_path / f".run.landscape.h5.{dead}.tmp.bak").touch()
    (tmp_path / f"run.landscape.h5.{dead}.tmp").touch()
    remove_stale_drafts(tmp_path, drafts_of_results(tmp_path / "run.landscape.h5"))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f".{name}.{dead}.tmp" for name in others} | {
        f".run.landscape.h5.{dead}.tmp.bak",
        f"run.landscape.h5.{dead}.tmp",
    }


def test_names_are_no_patterns(tmp_path: Path, dead: int) -> None:
    (tmp_path / f".aab.landscape.h5.{dead}.tmp").touch()
    remove_stale_drafts(tmp_path, drafts_of_results(tmp_path / "a+b.landscape.h5"))
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize("use", ["lock", "folder", "baseline"])
def test_whoever_writes_there_next_removes_them(tmp_path: Path, dead: int, use: str) -> None:
    target = tmp_path / {"lock": "a.landscape.h5", "folder": "a.edited", "baseline": "b.json"}[use]
    (tmp_path / f".{target.name}.{dead}.tmp").touch()
    if use == "lock":
        with hold_lock(target):
            write_record(target)
    elif use == "folder":
        with draft_folder(target):
            pass
    else:
        write_baseline(target, Baseline("same-weights", []))
    assert not list(tmp_path.glob(".*.tmp"))
