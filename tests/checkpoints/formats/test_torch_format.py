"""Files of torch.save, zipped and legacy, are described."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from landscape.checkpoints import read
from landscape.errors import CheckpointError

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


def test_an_old_file_whose_counts_are_wrong_is_said(tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(6.0)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    content = bytearray((tmp_path / "a.pt").read_bytes())
    assert content[-32:-24] == (6).to_bytes(8, "little")
    content[-32] = 5
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="its tensors are not all there"):
        read(tmp_path / "a.pt")


def test_an_old_file_with_tensors_in_bystanders_is_read(tmp_path: Path) -> None:
    content = {"state_dict": STATE, "args": argparse.Namespace(scale=torch.ones(2)), "extra": torch.eye(2).to_sparse()}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read(tmp_path / "a.pt").tensors["weight"], STATE["weight"])


def test_classes_and_kinds_may_be_named(tmp_path: Path) -> None:
    settings = {"activation": nn.ReLU, "optimizer": torch.optim.Adam, "range": range(3), "kind": np.uint8}
    torch.save({"state_dict": STATE, "hyper_parameters": settings}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt").tensors.keys() == STATE.keys()
