"""Remedies fit what the system says: only a missing folder is to be made."""

import errno
import os
from pathlib import Path

import pytest

from landscape.storage.write_errors import writing_remedy


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "allow writing there"),
        (errno.EPERM, "immutable"),
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "limit of the size"),
        (errno.ENAMETOOLONG, "a shorter name"),
        (errno.ENOTDIR, "name a folder"),
        (errno.EIO, "check the path"),
        (errno.ENOENT, "check the path"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_a_folder_that_exists_is_not_to_be_made(tmp_path: Path, number: int, remedy: str) -> None:
    found = writing_remedy(OSError(number, os.strerror(number)), tmp_path)
    assert remedy in found
    assert "make that folder" not in found


def test_a_folder_that_is_missing_is_to_be_made(tmp_path: Path) -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert writing_remedy(error, tmp_path / "none") == "make that folder"


def test_an_error_without_a_number_has_a_remedy_too(tmp_path: Path) -> None:
    assert writing_remedy(ValueError("embedded null byte"), tmp_path).startswith("check the path")
