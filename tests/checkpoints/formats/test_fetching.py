"""Tensors are fetched as torch itself reads them, and every storage is checked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from landscape.checkpoints import read
from landscape.errors import CheckpointError


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_views_of_every_kind_are_what_torch_makes_of_them(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24.0).view(4, 6)
    state = {
        "offset": base[2:, 1:],
        "transposed": base.T,
        "stepped": base[::2, ::3],
        "whole": base,
        "scalar": torch.tensor(7),
        "empty": torch.ones(0, 3),
        "wide": torch.arange(5, dtype=torch.float64),
        "narrow": torch.arange(5, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "complex": torch.ones(2, dtype=torch.complex64) * 1j,
        "bytes": torch.arange(3, dtype=torch.uint8),
    }
    if zipped:  # torch's old writer cannot write it
        state["eighth"] = torch.ones(3).to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    expected, found = torch.load(tmp_path / "a.pt"), read(tmp_path / "a.pt").tensors
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        comparable = (lambda t: t.float()) if name == "eighth" else (lambda t: t)
        assert torch.equal(comparable(found[name]), comparable(tensor))
    assert found["whole"].untyped_storage().data_ptr() == found["offset"].untyped_storage().data_ptr()


def test_a_storage_of_another_size_than_its_description_is_said(tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(6.0)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as file:
        inside = {name: file.read(name) for name in file.namelist()}
    inside["a/data/0"] = bytes(40)
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as file:
        for name, content in inside.items():
            file.writestr(name, content)
    with pytest.raises(CheckpointError, match="a/data/0 has 40 bytes, not 24"):
        read(tmp_path / "b.pt")
    with zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in inside.items():
            file.writestr(name, content)
    with pytest.raises(CheckpointError, match="holds compressed members"):
        read(tmp_path / "c.pt")
    with zipfile.ZipFile(tmp_path / "d.pt", "w") as file:
        for name, content in (inside | {"a/byteorder": b"big"}).items():
            file.writestr(name, content)
    with pytest.raises(CheckpointError, match="big-endian"):
        read(tmp_path / "d.pt")


def test_an_expanded_tensor_is_told_from_damage(tmp_path: Path) -> None:
    torch.save({"mask": torch.ones(1, 4).expand(3, 4)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"an expanded tensor of shape \(3, 4\).*contiguous"):
        read(tmp_path / "a.pt")
