"""Batches kept in a file are read as data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import landscape
from landscape.errors import LandscapeError, TaskError
from landscape.tasks import batch_files
from landscape.zoo import mlp

X, Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2


def write(path: Path, content: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in content.items()})
    elif path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("names", [("inputs", "targets"), ("x", "y"), ("input", "target")], ids="-".join)
def test_every_kind_of_file_gives_the_same_objective(suffix: str, names: tuple[str, str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = mlp([3, 2])
    landscape.save(tmp_path / "a.pt", model, spec={"model": "mlp", "model_args": {"sizes": [3, 2]}})
    path = write(tmp_path / f"batch{suffix}", dict(zip(names, (X, Y), strict=True)))
    objective = landscape.load(tmp_path / "a.pt", data=str(path), loss="cross_entropy")
    expected = landscape.Objective(model, (X, Y), "cross_entropy")
    assert objective.batches.sha256 == expected.batches.sha256
    assert float(objective.value()) == float(expected.value())
    assert objective.source.resolved_from["data"] == f"{path}, from the call"


@pytest.mark.parametrize(
    "content", [(X, Y), [(X[:4], Y[:4]), (X[4:], Y[4:])], {"inputs": X, "targets": Y}], ids=["pair", "list", "named"]
)
def test_a_torch_file_may_hold_batches_as_a_data_set_would_give_them(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "batch.pt")
    found = landscape.Objective(mlp([3, 2]), batch_files.read_batch_file(tmp_path / "batch.pt"), "cross_entropy")
    assert found.batches.sha256 == landscape.Objective(mlp([3, 2]), (X, Y), "cross_entropy").batches.sha256


def test_objects_in_a_batch_are_refused_by_name_and_arrays_are_data(tmp_path: Path) -> None:
    torch.save({"inputs": torch.ones(2, 3), "targets": torch.zeros(2), "path": Path("a")}, tmp_path / "a.pt")
    with pytest.raises(TaskError, match=r"objects besides tensors: pathlib\.(_local\.)?PosixPath\n.*\n.*tensors alone"):
        batch_files.read_batch_file(tmp_path / "a.pt")
    torch.save({"inputs": np.ones((2, 3)), "targets": np.zeros(2)}, tmp_path / "b.pt")
    assert torch.equal(batch_files.read_batch_file(tmp_path / "b.pt")["inputs"], torch.ones(2, 3, dtype=torch.float64))


def test_code_in_a_batch_does_not_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.system, (f"touch {tmp_path}/ran",))

    torch.save((X, Runs()), tmp_path / "batch.pt")
    np.savez(tmp_path / "batch.npz", inputs=np.array([Runs()], dtype=object))
    for name in ("batch.pt", "batch.npz"):
        with pytest.raises(LandscapeError, match=r"Python objects besides tensors|no npz file of plain arrays"):
            batch_files.read_batch_file(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_compressed_file_that_claims_more_than_there_is_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_files.memory, "free_bytes", lambda device: 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", inputs=np.zeros(1 << 20))
    with pytest.raises(LandscapeError, match="claims arrays of 8,388,736 bytes, more than is free"):
        batch_files.read_batch_file(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"no", "no npz file"),
        ("a.safetensors", b"no", "no safetensors file"),
        ("a.pt", b"no", "not a checkpoint"),
        ("none.npz", None, "there is no file"),
    ],
    ids=["npz", "safetensors", "torch", "none"],
)
def test_what_cannot_be_read_is_said(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LandscapeError, match=message):
        batch_files.read_batch_file(tmp_path / name)


def test_a_file_without_tensors_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(LandscapeError, match=r"holds no tensors, only: epoch\n.*inputs and targets"):
        batch_files.read_batch_file(tmp_path / "a.pt")
