"""A description belongs to files that stay as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from landscape.checkpoints import read
from landscape.checkpoints.formats.contents import Contents, file_stamps
from landscape.checkpoints.formats.safetensors_format import SAFETENSORS
from landscape.errors import CheckpointError


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_file_that_is_written_to_is_noticed(tmp_path: Path, change: str) -> None:
    files = (tmp_path / "a", tmp_path / "b")
    for file in files:
        file.write_bytes(b"12345")
    contents = Contents(tmp_path, SAFETENSORS, files, {}, {}, stamp=file_stamps(files))
    contents.require_unchanged()
    assert contents.nbytes == 10
    if change == "size":
        files[1].write_bytes(b"123")
        os.utime(files[1], ns=(0, contents.stamp[1][1]))
    else:
        os.utime(files[1], ns=(0, contents.stamp[1][1] + 1000))
    with pytest.raises(CheckpointError, match="changed while it was read"):
        contents.require_unchanged()


def test_the_spec_is_in_the_metadata_or_in_the_tree() -> None:
    text = '{"schema": 1, "model": "mlp"}'
    in_tree = Contents(Path("a"), SAFETENSORS, (), {"landscape": text}, {})
    in_metadata = Contents(Path("a"), SAFETENSORS, (), {"landscape": "ignored"}, {}, text)
    for contents in (in_tree, in_metadata):
        assert contents.spec is not None
        assert contents.spec.model == "mlp"
    assert Contents(Path("a"), SAFETENSORS, (), {"landscape": 3}, {}).spec is None


def test_a_description_of_itself_that_is_no_description_is_said(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(1)}, "landscape": "a" * (2 << 20)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="its description of itself has 2,097,152 bytes"):
        read(tmp_path / "a.pt")
