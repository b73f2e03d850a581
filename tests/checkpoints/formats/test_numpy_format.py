"""Files of NumPy arrays are checkpoints, read as data and bit for bit."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landscape.checkpoints import read
from landscape.checkpoints.inspection import inspect
from landscape.errors import CheckpointError

GENERATOR = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "layer.weight": GENERATOR.standard_normal((3, 4)).astype(np.float32),
    "layer.bias": np.asfortranarray(GENERATOR.standard_normal((2, 3))),
    "steps": np.array(7),
    "half": GENERATOR.standard_normal(5).astype(np.float16),
    "none": np.zeros((0, 2)),
    "large": GENERATOR.standard_normal((1 << 18) + 3).astype(np.float32),
}


def npz(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


WRITERS: dict[str, Callable[[Path, dict[str, Any]], object]] = {
    "npz": npz,
    "npy": lambda path, arrays: np.save(path.open("wb"), arrays, allow_pickle=True),  # type: ignore[arg-type]
    "pt": lambda path, arrays: torch.save(arrays, path),
    "pt, nested": lambda path, arrays: torch.save({"model": arrays, "iteration": 3}, path),
    "pt, legacy": lambda path, arrays: torch.save(arrays, path, _use_new_zipfile_serialization=False),
    "pt, protocol 4": lambda path, arrays: torch.save(arrays, path, pickle_protocol=4),
    **{
        f"pickle {protocol}": lambda path, arrays, protocol=protocol: path.write_bytes(  # type: ignore[misc]
            pickle.dumps({"model": arrays, "__author__": "detectron"}, protocol)
        )
        for protocol in (2, 3, 4, 5)
    },
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_arrays_are_read_bit_for_bit(write: Callable[[Path, dict[str, Any]], object], tmp_path: Path) -> None:
    write(tmp_path / "a.bin", ARRAYS)
    checkpoint = read(tmp_path / "a.bin")
    assert checkpoint.tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert checkpoint.tensors[name].numpy().dtype == array.dtype
        assert np.array_equal(checkpoint.tensors[name].numpy(), array)
    assert inspect(tmp_path / "a.bin").tensors["layer.weight"] == ((3, 4), "float32")
    assert not any("passed over" in note for note in checkpoint.notes)


def test_arrays_beside_tensors_are_no_weights_but_wanted_ones_are_said(tmp_path: Path) -> None:
    content = {"net_a": {"w": torch.ones(2), "b": np.ones(2)}, "losses": np.ones(9), "accuracies": np.ones(9)}
    torch.save(content, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert list(checkpoint.tensors) == ["w"]
    assert checkpoint.unread == {"b": "NumPy array"}
    torch.save({"state_dict": {"w": torch.ones(2)}, "teacher": {"w": np.zeros(2)}}, tmp_path / "b.pt")
    assert float(read(tmp_path / "b.pt", weights="teacher").tensors["w"].sum()) == 0


def test_texts_beside_arrays_are_passed_over_and_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.ones(2), names=np.array(["a", "b"]), objects=np.array([{}]))
    checkpoint = read(tmp_path / "a.npz")
    assert list(checkpoint.tensors) == ["w"]
    assert checkpoint.unread == {"names": "NumPy array of <U1", "objects": "NumPy array of |O"}
    assert any("NumPy array of <U1" in note for note in checkpoint.notes)


def damaged(path: Path, change: Callable[[bytearray], bytes | bytearray]) -> Path:
    path.write_bytes(change(bytearray(path.read_bytes())))
    return path


def _shape(content: bytearray) -> bytes:
    return bytes(content).replace(b"(3,)", b"(9,)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[: len(content) // 2], "damaged or truncated"),
        (lambda content: bytes(content).replace(struct.pack("<d", 1.5), struct.pack("<d", 2.5)), "checksum"),
        (_shape, "damaged|checksum"),
    ],
    ids=["cut", "bits", "shape"],
)
def test_a_damaged_archive_is_said(change: Any, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.full(3, 1.5))
    with pytest.raises(CheckpointError, match=message):
        read(damaged(tmp_path / "a.npz", change))


def test_a_compressed_archive_is_refused_with_the_remedy(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", w=np.zeros(1 << 20))
    with pytest.raises(CheckpointError, match=r"is compressed.*\n.*numpy.savez, without compression"):
        read(tmp_path / "a.npz")


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("w.npy", b"")
    with pytest.raises(CheckpointError, match="several members of one name"):
        read(tmp_path / "a.npz")


def test_an_array_alone_is_no_checkpoint(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(CheckpointError, match=r"is a NumPy array, not a checkpoint\n.*tensors by name"):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{"w": np.ones(2)}, {}]), allow_pickle=True)
    with pytest.raises(CheckpointError, match="not a dictionary of tensors"):
        read(tmp_path / "b.npy")


def test_text_in_place_of_bytes_is_damage(tmp_path: Path) -> None:
    """A character that no byte has, in an array that is left in the file until it is fetched."""
    torch.save({"w": np.full(1 << 18, 1.5)}, tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    place = content.index("\xf8?".encode(), len(content) // 2)
    legacy = tmp_path / "b.pt"
    torch.save({"w": np.full(1 << 18, 1.5)}, legacy, _use_new_zipfile_serialization=False)
    content = legacy.read_bytes()
    place = content.index("\xf8".encode(), len(content) // 2)
    legacy.write_bytes(content[:place] + "\u0400".encode() + content[place + 2 :])
    with pytest.raises(CheckpointError, match="bytes of an array are not all there"):
        read(legacy)
