"""Nothing waits for a pipe, and nothing of absurd size is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from landscape.storage.bounded import read_bounded, special_file

LIMIT = 1000


def test_a_regular_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * LIMIT)
    assert read_bounded(tmp_path / "a", LIMIT) == b"x" * LIMIT
    (tmp_path / "link").symlink_to("a")
    assert len(read_bounded(tmp_path / "link", LIMIT)) == LIMIT
    os.truncate(tmp_path / "a", 1 << 40)
    with pytest.raises(OSError, match="it has 1,099,511,627,776 bytes, and at most 1,000 are read"):
        read_bounded(tmp_path / "a", LIMIT)


def test_other_files_are_called_by_their_names(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for words, path in {
        "a pipe": tmp_path / "pipe",
        "a socket": tmp_path / "socket",
        "a directory": tmp_path,
        "a device": Path("/dev/zero"),
    }.items():
        with pytest.raises(OSError, match=f"it is {words}"):
            read_bounded(path, LIMIT)
        assert special_file(path.stat().st_mode) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a\0b", "no file has such a name"), ("\ud800", "no file has such a name"), ("a" * 5000, "name too long"),
        ("none", "No such file"),
    ],
    ids=["nul", "surrogate", "long", "missing"],
)  # fmt: skip
def test_names_that_no_file_has_are_oserrors(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(OSError, match=words):
        read_bounded(tmp_path / name, LIMIT)


def test_links_in_a_circle_are_oserrors(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        read_bounded(tmp_path / "a", LIMIT)
