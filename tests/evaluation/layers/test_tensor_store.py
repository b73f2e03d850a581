"""A store of tensors gives back what was put into it, from memory and from its file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape import Objective
from landscape.compute.budget import room
from landscape.errors import OutputError
from landscape.evaluation.layers.tensor_store import HELD_BYTES, TensorStore, store_limit
from landscape.storage.array_files import load_arrays, save_arrays
from landscape.storage.stored_array import StoredArray


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "a": torch.randn(3, 4),
        "b": torch.randn(5, 2, dtype=torch.float64).T,
        "c": torch.arange(7),
        "d": torch.tensor(2.5, dtype=torch.float64),
        "e": torch.zeros(0, 3),
    }


@pytest.mark.parametrize("limit", [0, 60, 1e9], ids=["file", "both", "memory"])
def test_what_is_put_comes_back_bit_for_bit(limit: float, tmp_path: Path) -> None:
    store = TensorStore(limit, tmp_path)
    store.update(tensors())
    assert sorted(store) == sorted(tensors())
    for name, tensor in tensors().items():
        assert store[name].dtype == tensor.dtype
        assert torch.equal(store[name], tensor)
        assert np.array_equal(np.asarray(store.arrays()[name]), tensor.numpy())
    assert store.held_bytes <= limit
    assert store.held_bytes + store.file_bytes == sum(one.nbytes for one in tensors().values())


@pytest.mark.parametrize("limit", [0, 1e9], ids=["file", "memory"])
def test_a_tensor_is_replaced_in_its_place_or_by_a_larger_one(limit: float) -> None:
    store = TensorStore(limit)
    store.update(tensors())
    size = store.file_bytes
    store["a"] = torch.ones(3, 4)
    assert store.file_bytes == size
    store["c"] = torch.ones(50)
    assert torch.equal(store["a"], torch.ones(3, 4))
    assert torch.equal(store["c"], torch.ones(50))
    assert torch.equal(store["b"], tensors()["b"])


def test_released_tensors_make_room_for_others() -> None:
    store = TensorStore(100)
    store["a"] = torch.ones(25)
    store["b"] = torch.ones(25) * 2
    assert (store.held_bytes, store.file_bytes) == (100, 100)
    store.release()
    assert (store.held_bytes, store.file_bytes) == (0, 200)
    store["c"] = torch.ones(25) * 3
    assert store.held_bytes == 100
    assert [float(store[name].sum()) for name in "abc"] == [25, 50, 75]


def test_a_value_is_computed_once() -> None:
    store = TensorStore(0)
    made: list[int] = []

    def make() -> Tensor:
        made.append(1)
        return torch.ones(2)

    assert torch.equal(store.recall("x", make), store.recall("x", make))
    assert made == [1]


def test_deleted_tensors_are_gone() -> None:
    for limit in (0, 1e9):
        store = TensorStore(limit)
        store.update(tensors())
        del store["a"]
        assert "a" not in store
        with pytest.raises(KeyError, match="a"):
            del store["a"]
        store.clear()
        assert not store


def test_arrays_in_the_file_are_saved_without_being_gathered_in_memory(tmp_path: Path) -> None:
    store = TensorStore(0)
    store.update(tensors())
    assert all(isinstance(store.arrays()[name], StoredArray) for name in "abcd")
    save_arrays(tmp_path / "a", store.arrays(), {"x": "y"})
    save_arrays(tmp_path / "b", {name: tensor.numpy() for name, tensor in tensors().items()}, {"x": "y"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found, _ = load_arrays(tmp_path / "a")
    assert all(np.array_equal(found[name], tensor.numpy()) for name, tensor in tensors().items())


def test_the_file_has_no_name_and_a_folder_that_cannot_be_written_is_not_used(tmp_path: Path) -> None:
    store = TensorStore(0, tmp_path)
    store.update(tensors())
    assert store.folder == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert TensorStore(0, tmp_path / "none").folder == Path(tempfile.gettempdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TensorStore(0, tmp_path)
    with open("/dev/full", "w+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: full)
        with pytest.raises(OutputError, match=r"do not fit on the disk: 0.00 GB are written, .* in .*test_a_full"):
            store["a"] = torch.ones(3)


def test_a_store_of_a_small_model_holds_all_and_one_of_a_large_model_a_part_of_it() -> None:
    small = Objective(nn.Linear(3, 2), (torch.ones(2, 3), torch.ones(2, 2)), "mse", device="cpu")
    assert store_limit(small) == min(HELD_BYTES, room("state", small.device) / 2)
    large = small.variant(theta=torch.empty(80 * HELD_BYTES // 4, device="meta"))
    assert store_limit(large) == pytest.approx(min(10 * HELD_BYTES, room("state", small.device) / 2), rel=0.1)
