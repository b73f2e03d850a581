"""Safetensors files are described by their headers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from landscape.checkpoints.formats.safetensors_format import (
    DTYPES,
    describe_safetensors,
    headers_with_metadata,
    tensor_ranges,
)
from landscape.errors import CheckpointError

STATE = {"weight": torch.arange(6.0).view(2, 3), "half": torch.ones(5).half(), "none": torch.zeros(0, 4)}


def test_shapes_dtypes_and_ranges_are_those_of_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_file(STATE, path)
    refs = describe_safetensors(path).tree
    assert {name: (refs[name].shape, f"torch.{refs[name].dtype}") for name in STATE} == {
        name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in STATE.items()
    }
    with path.open("rb") as file:
        ranges = tensor_ranges(file)
    content = path.read_bytes()
    for name, (begin, length) in ranges.items():
        assert content[begin : begin + length] == STATE[name].numpy().tobytes()


def test_every_dtype_that_torch_can_save_is_known(tmp_path: Path) -> None:
    for name in DTYPES.values():
        if not hasattr(torch, name) or name == "float8_e8m0fnu":
            continue
        save_file({"x": torch.zeros(3, dtype=torch.float32).to(getattr(torch, name))}, tmp_path / "a")
        assert describe_safetensors(tmp_path / "a").tree["x"].dtype == name


def test_extras_stand_apart_from_the_weights_and_metadata_is_the_spec(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2), "landscape_data.inputs": torch.zeros(3)}, tmp_path / "a", {"landscape": "{}"})
    contents = describe_safetensors(tmp_path / "a")
    assert contents.tree.keys() == {"w", "landscape_data"}
    assert contents.tree["landscape_data"]["inputs"].shape == (3,)
    assert contents.metadata == "{}"


def test_a_marked_header_leaves_the_tensors_as_they_are(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a", {"format": "pt"})
    with (tmp_path / "a").open("rb") as file:
        old, new = headers_with_metadata(file, {"mark": "käse"})
    content = (tmp_path / "a").read_bytes()
    assert content.startswith(old)
    assert len(new) % 8 == 0
    (tmp_path / "b").write_bytes(new + content[len(old) :])
    again = load_file(tmp_path / "b")
    assert all(torch.equal(again[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGUF and more", "a GGUF file"),
        (b"no header at all", "is not a safetensors file"),
        ((10).to_bytes(8, "little") + b"{" + b"x" * 20, "is a damaged safetensors file"),
        ((30 << 20).to_bytes(8, "little") + b"{" + bytes(31 << 20), "its header alone has 31,457,280 bytes"),
    ],
    ids=["foreign", "text", "torn", "absurd-header"],
)
def test_other_files_are_refused_in_words(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        describe_safetensors(tmp_path / "a")


def test_strides_are_those_of_contiguous_arrays(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(4, 3, 2)}, tmp_path / "a")
    items = np.array(describe_safetensors(tmp_path / "a").tree["x"].stride)
    assert (items * 4).tolist() == list(np.zeros((4, 3, 2), np.float32).strides)
