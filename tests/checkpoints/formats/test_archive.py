"""Zip archives are read strictly; what torch itself writes passes, whatever its size and settings."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from landscape.checkpoints import read
from landscape.checkpoints.formats.detection import detect_format
from landscape.errors import CheckpointError

STATE = {"weight": torch.arange(1000.0), "half": torch.ones(3).half(), "empty": torch.ones(0, 4)}


@pytest.mark.parametrize("name", ["a.pt", "weights", "ünï.pth", "a b.bin"])
def test_whatever_torch_writes_is_read(tmp_path: Path, name: str) -> None:
    torch.save(STATE, tmp_path / name)
    tensors = read(tmp_path / name).tensors
    assert all(
        torch.equal(tensors[key], tensor) and tensors[key].dtype == tensor.dtype for key, tensor in STATE.items()
    )


def test_without_checksums_as_torch_can_be_told_to_write(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    with pytest.raises(CheckpointError, match="do not match their checksum"):
        read(tmp_path / "a.pt")


def test_every_flipped_bit_of_the_weights_is_noticed(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(40)}, tmp_path / "a.pt")
    good = (tmp_path / "a.pt").read_bytes()
    begin = good.index(torch.ones(8).numpy().tobytes())
    for place in range(begin, begin + 160, 7):
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        (tmp_path / "a.pt").write_bytes(bad)
        with pytest.raises(CheckpointError, match="checksum"):
            read(tmp_path / "a.pt")


def test_a_flipped_bit_of_the_description_is_noticed(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(8)}, tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(content.replace(b"weight", b"weighu"))
    with pytest.raises(CheckpointError, match="checksum"):
        read(tmp_path / "a.pt")


def test_other_zip_archives_are_called_by_their_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("notes.txt", "hello")
    with pytest.raises(CheckpointError, match=r"torch did not write: it holds notes.txt\n.*unzip"):
        detect_format(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", "hello")
    with pytest.raises(CheckpointError, match="damaged: its member x.npy has an .npy header that is none"):
        read(tmp_path / "a.npz")
