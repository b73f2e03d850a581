"""The digest of a checkpoint's files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from landscape.checkpoints.checkpoint import content_sha256


def test_one_file_has_its_own_digest(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"weights")
    assert content_sha256([tmp_path / "a.pt"], tmp_path / "a.pt") == hashlib.sha256(b"weights").hexdigest()


def test_several_files_have_the_digest_of_what_sha256sum_would_print_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_bytes(name.encode())
    lines = "".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("a", "b"))
    files = [tmp_path / "b", tmp_path / "a"]
    assert content_sha256(files, tmp_path) == hashlib.sha256(lines.encode()).hexdigest()
    (tmp_path / "a").rename(tmp_path / "c")
    assert content_sha256([tmp_path / "b", tmp_path / "c"], tmp_path) != hashlib.sha256(lines.encode()).hexdigest()
