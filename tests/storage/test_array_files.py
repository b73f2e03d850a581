"""Arrays with metadata in one file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from landscape.errors import OutputError
from landscape.storage.array_files import DIGEST, load_arrays, save_arrays
from landscape.storage.stored_array import StoredArray


def test_snapshots_keep_scalars_and_shapes(tmp_path: Path) -> None:
    state = {"count": np.asarray(3), "rows": np.zeros((0, 4)), "values": np.array([np.nan, -0.0])}
    save_arrays(tmp_path / "s", state, {"note": "a 'quoted' word"})
    again, about = load_arrays(tmp_path / "s")
    assert about == {"note": "a 'quoted' word"}
    assert all(again[name].shape == value.shape for name, value in state.items())
    assert again["values"].tobytes() == state["values"].tobytes()


def test_a_damaged_snapshot_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\xff" * 40)
    with pytest.raises(OutputError, match="--restart discards it"):
        load_arrays(tmp_path / "s")


def test_a_file_of_arrays_is_an_ordinary_safetensors_file_with_the_mark_of_landscape(tmp_path: Path) -> None:
    values = np.arange(6.0).reshape(2, 3)
    save_arrays(tmp_path / "a.eig.safetensors", {"values": values.T}, {"analysis": "eig"})
    with safe_open(tmp_path / "a.eig.safetensors", framework="np") as file:
        assert file.metadata().items() >= {"landscape_schema": "1", "analysis": "eig"}.items()
        assert file.get_tensor("values").tolist() == values.T.tolist()


STATE = {"rows": np.arange(12.0, dtype=np.float32).reshape(3, 4), "done": np.array([True, False]), "count": np.array(7)}


def test_equal_content_gives_equal_files_in_whatever_order_it_comes(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a", STATE, {"x": "1", "y": "2"})
    save_arrays(tmp_path / "b", dict(reversed(STATE.items())), {"y": "2", "x": "1"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_safetensors_wrote_again_is_the_same(tmp_path: Path) -> None:
    save_arrays(tmp_path / "s", STATE, {"x": "1"})
    with safe_open(tmp_path / "s", framework="np") as file:
        save_file({name: file.get_tensor(name) for name in file.keys()}, tmp_path / "t", file.metadata())  # noqa: SIM118
    again, about = load_arrays(tmp_path / "t")
    assert about == {"x": "1"}
    assert all(np.array_equal(again[name], values) for name, values in STATE.items())


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    save_arrays(tmp_path / "s", STATE, {"x": "1"})
    good = (tmp_path / "s").read_bytes()
    spaces = len(good[8:].split(b"}}")[0]) + 10, 8 + int.from_bytes(good[:8], "little")  # the padding means nothing
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8
        if spaces[0] <= place < spaces[1]:
            continue
        for content in (bytes(damaged), good[:place]):
            (tmp_path / "t").write_bytes(content)
            with pytest.raises(OutputError, match="--restart discards it"):
                load_arrays(tmp_path / "t")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": STATE["rows"] * 2}, "its digest does not fit"),
        ({"rows": STATE["rows"].T.copy()}, "its digest does not fit"),
        ({"rows": STATE["rows"].view(np.int32)}, "its digest does not fit"),
        ({"more": np.zeros(2)}, "its digest does not fit"),
    ],
    ids=["values", "shape", "dtype", "another array"],
)
def test_arrays_that_were_changed_are_not_believed(
    tmp_path: Path, changed: dict[str, np.ndarray], message: str
) -> None:
    save_arrays(tmp_path / "s", STATE, {"x": "1"})
    with safe_open(tmp_path / "s", framework="np") as file:
        texts = file.metadata()
    save_file(STATE | changed, tmp_path / "s", texts)
    with pytest.raises(OutputError, match=message):
        load_arrays(tmp_path / "s")
    save_file(STATE, tmp_path / "s", texts | {"x": "2"})
    with pytest.raises(OutputError, match=message):
        load_arrays(tmp_path / "s")


def test_a_file_without_a_digest_is_of_another_version(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "s", {"x": "1"})
    with pytest.raises(OutputError, match=r"has no digest\n.*another version.*\n.*--restart"):
        load_arrays(tmp_path / "s")
    save_file(STATE, tmp_path / "s", {DIGEST: "0" * 64})
    with pytest.raises(OutputError, match="does not fit"):
        load_arrays(tmp_path / "s", "sidecar")


@pytest.mark.parametrize("length", [2**31, 2**60, 2**64 - 1])
def test_a_description_longer_than_its_file_is_refused_at_once(tmp_path: Path, length: int) -> None:
    (tmp_path / "s").write_bytes(length.to_bytes(8, "little") + b"{}" * 30)
    with pytest.raises(OutputError, match="damaged"):
        load_arrays(tmp_path / "s")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "Q7", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "no", "data_offsets": None},
        [],
    ],
    ids=["larger than the file", "negative", "before the data", "another length", "no dtype", "no numbers", "a list"],
)
def test_an_array_that_cannot_be_in_the_file_is_refused(tmp_path: Path, entry: object) -> None:
    text = json.dumps({"__metadata__": {}, "x": entry}).encode()
    (tmp_path / "s").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(OutputError, match="damaged"):
        load_arrays(tmp_path / "s")


def test_a_pipe_is_no_snapshot(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s")
    with pytest.raises(OutputError, match="not a readable snapshot"):
        load_arrays(tmp_path / "s")


def test_arrays_that_are_not_held_are_read_from_the_file_when_their_values_are_asked_for(tmp_path: Path) -> None:
    wanted = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3), "c": np.zeros((0, 2), np.float32)}
    save_arrays(tmp_path / "x", wanted, {"k": "v"})
    found, about = load_arrays(tmp_path / "x", held=False)
    assert about == {"k": "v"}
    assert all(isinstance(array, StoredArray) for array in found.values())
    assert all(np.array_equal(np.asarray(found[name]), array) for name, array in wanted.items())
    save_arrays(tmp_path / "y", found, {"k": "v"})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    (tmp_path / "x").unlink()
    with pytest.raises(OutputError, match="was removed or cut off while it was read"):
        np.asarray(found["a"])
