"""Candidates are looked at once, and only as far as detection needs."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from landscape.checkpoints.formats.format import MAX_COUNTED_SIZE, WORKING_SPACE, Candidate, description_allowance
from landscape.errors import CheckpointError


def test_a_file_has_a_head_and_a_directory_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2000)
    file, folder = Candidate(tmp_path / "a"), Candidate(tmp_path)
    assert (len(file.head), file.size, file.folder_names, file.zip_members) == (512, 2000, frozenset(), frozenset())
    assert (folder.head, folder.folder_names, folder.zip_members) == (b"", {"a"}, frozenset())


def test_the_members_of_an_archive_are_named_without_its_root(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        for name in ("root/data.pkl", "root/data/0", "loose"):
            file.writestr(name, b"")
    assert Candidate(tmp_path / "a").zip_members == {"data.pkl", "data/0", "loose"}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="is no regular file"):
        _ = Candidate(tmp_path / "pipe").head


def test_the_memory_for_a_description_grows_with_the_file_and_is_bounded() -> None:
    assert description_allowance(0) == WORKING_SPACE
    assert description_allowance(1000) == WORKING_SPACE + 2000
    assert description_allowance(1 << 50) == WORKING_SPACE + 2 * MAX_COUNTED_SIZE
