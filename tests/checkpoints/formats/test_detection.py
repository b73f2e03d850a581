"""What a file is, by its bytes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from landscape.checkpoints.formats.detection import FORMATS, detect_format
from landscape.errors import CheckpointError

STATE = {"weight": torch.arange(6.0).view(2, 3)}


def test_formats_are_known_whatever_the_name(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.safetensors")
    torch.save(STATE, tmp_path / "b.txt", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "c.pt")
    (tmp_path / "d.safetensors").write_bytes(pickle.dumps({"weight": [1.0]}))
    kinds = ["torch", "torch (legacy)", "safetensors", "pickle"]
    assert [detect_format(path).name for path in sorted(tmp_path.iterdir())] == kinds


def test_no_file_and_a_directory_are_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        detect_format(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="is a directory without model.safetensors"):
        detect_format(tmp_path)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_one_file_of_a_distributed_checkpoint_names_its_directory(name: str, tmp_path: Path) -> None:
    dcp.save(STATE, checkpoint_id=tmp_path / "d", no_dist=True)
    with pytest.raises(CheckpointError, match=rf"one file of .*distributed\n.*name its directory: {tmp_path / 'd'}"):
        detect_format(tmp_path / "d" / name)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600))
@example(b"\x80\x02")
@example(b"PK\x03\x04")
@example(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
def test_arbitrary_bytes_never_raise_anything_unplanned(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("formats") / "x"
    path.write_bytes(content)
    try:
        assert detect_format(path).name in ("safetensors", "torch", "torch (legacy)", "pickle", "NumPy dictionary")
    except CheckpointError:
        pass


def test_every_format_is_detected_as_itself_and_no_two_share_a_name(tmp_path: Path) -> None:
    """A file of each format, as the library that defines it writes it."""
    linear = torch.nn.Linear(3, 2)
    torch.save(STATE, tmp_path / "zip")
    torch.save(STATE, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "safetensors")
    (tmp_path / "pickle").write_bytes(pickle.dumps([1.0]))
    torch.jit.script(linear).save(str(tmp_path / "script"))
    torch.export.save(torch.export.export(linear, (torch.ones(1, 3),)), tmp_path / "program.pt2")
    np.savez(tmp_path / "arrays.npz", weight=np.ones(2))
    np.save(tmp_path / "dictionary.npy", {"weight": np.ones(2)}, allow_pickle=True)  # type: ignore[arg-type]
    for name in ("sharded", "hub", "distributed", "adapter"):
        (tmp_path / name).mkdir()
    for name in ("sharded", "hub"):
        save_file(STATE, tmp_path / name / "model.safetensors")
    (tmp_path / "hub" / "config.json").write_text("{}")
    (tmp_path / "distributed" / ".metadata").touch()
    save_file(STATE, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    names = [detect_format(path).name for path in tmp_path.iterdir()]
    assert sorted(names) == sorted(format.name for format in FORMATS)
    assert len(set(names)) == len(FORMATS)
