"""Distributed checkpoints are read as data: what torch's own loader gives, or refused."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st
from sharded_checkpoints import rows, write_metadata, write_sharded
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

import landscape
from landscape.checkpoints import read
from landscape.checkpoints.formats.distributed import require_tiling
from landscape.checkpoints.formats.tensor_refs import DamageError
from landscape.checkpoints.inspection import inspect
from landscape.errors import CheckpointError

MATRIX = torch.arange(35.0).reshape(7, 5)
QUARTERS = [((0, 0), (3, 2)), ((0, 2), (3, 3)), ((3, 0), (4, 2)), ((3, 2), (4, 3))]
UNEVEN = [((0, 0), (3, 5)), ((3, 0), (4, 1)), ((3, 1), (4, 4))]


@pytest.mark.filterwarnings("ignore")
def test_what_torch_saves_is_what_it_would_load(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    adam.step()
    content = {"model": model.state_dict(), "optim": adam.state_dict(), "epoch": 3, "rng": torch.get_rng_state()}
    dcp.save(content, checkpoint_id=tmp_path / "a", no_dist=True)
    dcp_to_torch_save(tmp_path / "a", tmp_path / "whole.pt")
    expected = torch.load(tmp_path / "whole.pt", weights_only=False)["model"]
    checkpoint = read(tmp_path / "a")
    assert checkpoint.tensors.keys() == expected.keys() == model.state_dict().keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in expected.items())
    inspection = inspect(tmp_path / "a")
    assert (inspection.format, inspection.place) == ("distributed checkpoint", "model")
    assert inspection.tensors["0.weight"] == ((2, 3), "float32")
    assert not any("trust" in note for note in checkpoint.notes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "chunks",
    [rows(MATRIX, 2), rows(MATRIX, 7), rows(MATRIX, 1), QUARTERS, UNEVEN],
    ids=["two", "rows", "one", "grid", "uneven"],
)
def test_chunks_are_put_together(chunks: Any, tmp_path: Path) -> None:
    write_sharded(tmp_path / "a", {"w": (MATRIX, chunks), "b": (torch.tensor(2.5), [((), ())])})
    tensors = read(tmp_path / "a").tensors
    assert torch.equal(tensors["w"], MATRIX)
    assert float(tensors["b"]) == 2.5
    loaded = {"w": torch.zeros(7, 5), "b": torch.zeros(())}
    dcp.load(loaded, checkpoint_id=tmp_path / "a", no_dist=True)
    assert torch.equal(loaded["w"], MATRIX)


@pytest.mark.slow
def test_two_processes_that_shard_a_model_make_one_checkpoint(tmp_path: Path) -> None:
    script = """
import os, sys, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
from torch.distributed.tensor import DeviceMesh, Shard, distribute_tensor
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
mesh = DeviceMesh("cpu", [0, 1])
whole = torch.arange(35.0).reshape(7, 5)
state = {name: distribute_tensor(whole, mesh, [Shard(axis)]) for axis, name in enumerate("wv")} | {"b": whole[0]}
dcp.save({"model": state}, checkpoint_id=folder + "/a")
dist.barrier()
os._exit(0)
"""
    runs = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", script, rank, str(tmp_path)]) for rank in "01"]
    assert [run.wait(120) for run in runs] == [0, 0]
    tensors = read(tmp_path / "a").tensors
    assert len(list((tmp_path / "a").glob("*.distcp"))) == 2
    assert torch.equal(tensors["w"], MATRIX)
    assert torch.equal(tensors["v"], MATRIX)
    assert torch.equal(tensors["b"], MATRIX[0])


def test_one_is_measured_without_trust(tmp_path: Path) -> None:
    whole = landscape.load("sample_checkpoints/digits-mlp.pt", data="digits", limit=50)
    state = read("sample_checkpoints/digits-mlp.pt").tensors
    plan = {name: ("app", "model", name) for name in state}
    write_sharded(tmp_path / "a", {name: (tensor, rows(tensor, 3)) for name, tensor in state.items()}, plan)
    sizes = (state["0.weight"].shape[1], *(tensor.shape[0] for name, tensor in state.items() if "bias" in name))
    objective = landscape.load(
        tmp_path / "a", model="mlp", model_arg=(f"sizes={sizes}",), data="digits", loss="cross_entropy", limit=50
    )
    assert objective.identity()["weights"] == whole.identity()["weights"]


def _changed(metadata: Any, name: str, **changes: Any) -> None:
    """Changes where the first chunk of a tensor is."""
    key = next(key for key in metadata.storage_data if key.fqn == name)
    metadata.storage_data[key] = dataclasses.replace(metadata.storage_data[key], **changes)


def _tensor(metadata: Any, **changes: Any) -> None:
    metadata.state_dict_metadata["w"] = dataclasses.replace(metadata.state_dict_metadata["w"], **changes)


def _chunk(metadata: Any, number: int, **changes: Any) -> None:
    chunks = metadata.state_dict_metadata["w"].chunks
    chunks[number] = dataclasses.replace(chunks[number], **changes)


DAMAGE: dict[str, tuple[Callable[[Any, Path], object], str]] = {
    "a path upwards": (lambda m, _: _changed(m, "w", relative_path="../secret.distcp"), "cannot be in its directory"),
    "an absolute path": (lambda m, _: _changed(m, "w", relative_path="/etc/passwd"), "cannot be in its directory"),
    "a path of bytes": (lambda m, _: _changed(m, "w", relative_path=b"a"), "cannot be in its directory"),
    "a missing file": (lambda m, folder: (folder / "__1_0.distcp").unlink(), r"is incomplete: there is no __1_0"),
    "a cut file": (lambda m, folder: os.truncate(folder / "__1_0.distcp", 100), "is truncated"),
    "an offset beyond": (lambda m, _: _changed(m, "w", offset=1 << 40), "is truncated"),
    "a negative offset": (lambda m, _: _changed(m, "w", offset=-1), "without a name or a place"),
    "another chunk's place": (lambda m, _: _changed(m, "w", offset=3), "damaged"),
    "a chunk of too few bytes": (lambda m, _: _changed(m, "w", length=10), "larger than its bytes"),
    "compression": (lambda m, _: _changed(m, "w", transform_descriptors=["zstd"]), "a form of their own: .*zstd"),
    "a larger tensor": (lambda m, _: _tensor(m, size=torch.Size([10**9, 10**9])), "not all of w"),
    "sizes beyond counting": (lambda m, _: _tensor(m, size=torch.Size([2**62, 2**62])), "no counts"),
    "fewer chunks": (lambda m, _: _tensor(m, chunks=m.state_dict_metadata["w"].chunks[:1]), "not all of w"),
    "a chunk twice": (
        lambda m, _: _tensor(m, chunks=[m.state_dict_metadata["w"].chunks[0]] * 2),
        "not all of w|over one",
    ),
    "a chunk elsewhere": (lambda m, _: _chunk(m, 1, offsets=torch.Size([3, 0])), "no place for a chunk|not all of w"),
    "another dtype": (
        lambda m, _: setattr(m.state_dict_metadata["w"].properties, "dtype", torch.int32),
        "in the place of",
    ),
    "no storage": (lambda m, _: setattr(m, "storage_data", None), "no place for a chunk of w"),
    "a tensor in a tensor": (
        lambda m, _: m.planner_data.update({"w": ("x",), "b": ("x", "y")}),
        "in the place of a dictionary",
    ),
    "two in one place": (lambda m, _: m.planner_data.update({"w": ("x",), "b": ("x",)}), "two tensors in one place"),
}


@pytest.mark.parametrize(("change", "message"), DAMAGE.values(), ids=list(DAMAGE))
def test_a_directory_that_contradicts_itself_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "secret.distcp").write_bytes(bytes(10_000))
    tensors = {"w": (MATRIX, rows(MATRIX, 2)), "b": (MATRIX[0].clone(), rows(MATRIX[0], 1))}
    metadata = write_sharded(tmp_path / "a", tensors)
    change(metadata, tmp_path / "a")
    write_metadata(tmp_path / "a", metadata)
    with pytest.raises(CheckpointError, match=message) as refusal:
        read(tmp_path / "a")
    assert refusal.value.fix


def test_many_chunks_must_lie_in_a_grid() -> None:
    upper = [((0, column), (1, 1 if column == 0 else 2)) for column in (0, *range(1, 129, 2))]
    lower = [((1, column), (1, 2 if column < 128 else 1)) for column in range(0, 129, 2)]
    with pytest.raises(DamageError, match="130 chunks of w that lie in no grid"):
        require_tiling((2, 129), [*upper, *lower], "w")


@pytest.mark.parametrize("name", ["__1_0.distcp", ".metadata"])
def test_a_link_out_of_the_directory_is_refused(name: str, tmp_path: Path) -> None:
    write_sharded(tmp_path / "a", {"w": (MATRIX, rows(MATRIX, 2))})
    os.rename(tmp_path / "a" / name, tmp_path / "elsewhere")
    (tmp_path / "a" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="leaves its directory"):
        read(tmp_path / "a")


def test_flipped_bits_of_a_chunk_are_noticed(tmp_path: Path) -> None:
    write_sharded(tmp_path / "a", {"w": (MATRIX, rows(MATRIX, 2))})
    content = bytearray((tmp_path / "a" / "__1_0.distcp").read_bytes())
    content[content.index(MATRIX[5].numpy().tobytes())] ^= 1
    (tmp_path / "a" / "__1_0.distcp").write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        read(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", pickle.dumps({"a": 1}), b"text", pickle.dumps(print)])
def test_a_description_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        read(tmp_path)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_chunks_cover_a_shape_exactly_or_are_refused(data: st.DataObject) -> None:
    """Compared with counting every place."""
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    span = st.integers(0, 3)
    chunks = data.draw(st.lists(st.tuples(st.tuples(span, span), st.tuples(span, span)), max_size=4))
    chunks = [chunk for chunk in chunks if 0 not in chunk[1]]
    counts = torch.zeros(8, 8)
    for (row, column), (height, width) in chunks:
        counts[row : row + height, column : column + width] += 1
    exact = bool((counts[: shape[0], : shape[1]] == 1).all()) and counts.sum() == shape[0] * shape[1]
    try:
        require_tiling(shape, chunks, "w")
        assert exact
    except DamageError:
        assert not exact
