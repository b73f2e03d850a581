"""Files that are taken for checkpoints by mistake are called by their names."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from landscape.checkpoints.formats.detection import detect_format
from landscape.errors import CheckpointError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>sign in</html>", "an HTML page"),
        (b"\n  <html><body>", "an HTML page"),
        (gzip.compress(b"weights"), r"a gzip archive.*\n.*gunzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", r"git-lfs pointer.*\n.*git lfs pull"),
        (b"GGUF\x03\x00", "GGUF"),
        (b"\x89HDF\r\n\x1a\n....", r"HDF5.*\n.*landscape show"),
        (b"just text", "not a checkpoint: it starts with b'just tex'"),
    ],
    ids=["empty", "html", "html-indented", "gzip", "lfs", "gguf", "hdf5", "text"],
)
def test_anything_else_is_called_by_its_name_with_a_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "ckpt.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        detect_format(path)
