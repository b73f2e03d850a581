"""Digests of files, and of files that are not written yet."""

from __future__ import annotations

import hashlib
from pathlib import Path

from landscape.checkpoints.edits.digests import file_sha256, pieces_sha256


def test_both_are_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one two")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"one two").hexdigest()
    assert pieces_sha256([b"one", b"", memoryview(b" two")]) == hashlib.sha256(b"one two").hexdigest()
