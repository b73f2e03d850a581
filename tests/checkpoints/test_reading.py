"""Checkpoints are read as data, or refused with the remedy."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landscape.checkpoints import read
from landscape.errors import CheckpointError

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


@pytest.mark.parametrize(
    "nested",
    [STATE, {"state_dict": STATE, "epoch": 3}, {"model_state_dict": STATE, "optimizer": {}}, {"model": STATE}],
    ids=["plain", "state_dict", "model_state_dict", "model"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_weights_are_found_in_their_usual_nests(tmp_path: Path, nested: Any, zipped: bool) -> None:
    torch.save(nested, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.tensors.keys() == STATE.keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in STATE.items())
    assert checkpoint.sha256 == hashlib.sha256((tmp_path / "a.pt").read_bytes()).hexdigest()
    assert checkpoint.spec is None


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    assert torch.equal(read(tmp_path / "a.safetensors").tensors["weight"], STATE["weight"])


class Marker:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "ran"
    torch.save({"weight": torch.ones(1), "x": Marker(marker)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.tensors.keys() == {"weight"}
    assert checkpoint.unread == {"x": "builtins.getattr"}
    assert any("passed over" in note and "pathlib" in note for note in checkpoint.notes)
    assert not marker.exists()
    with (tmp_path / "a.pt").open("rb") as file:  # the marker does work
        if zipped:
            torch.load(file, weights_only=False)
            assert marker.exists()


def test_a_bare_pickle_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Marker(marker)))
    with pytest.raises(CheckpointError, match="a bare pickle"):
        read(tmp_path / "a.pt")
    assert not marker.exists()


def test_a_module_beside_the_weights_is_passed_over_and_named(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "extra": nn.Linear(1, 1)}, tmp_path / "a.pt")
    checkpoint = read(tmp_path / "a.pt")
    assert checkpoint.tensors.keys() == STATE.keys()
    assert any("torch.nn.modules.linear.Linear" in note for note in checkpoint.notes)


REMEDY = r"runs code from it\n.*re-save the weights alone.*landscape eig .* --trust"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nn.Linear(1, 1), r"a torch.nn.modules.linear.Linear, not a dictionary"),
        ({"net_g": nn.Linear(1, 1)}, r"only: net_g \(a torch.nn.modules.linear.Linear\)"),
        ({"model": nn.Linear(1, 1), "epoch": 3}, r"inside a Python object: model is a torch.nn.modules.linear.Linear"),
    ],
    ids=["whole", "entry", "model"],
)
def test_weights_inside_an_object_are_refused_with_its_name_and_the_remedy(
    content: Any, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message + r".*\n.*" + REMEDY):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_said(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "a.pt"
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"damaged|truncated|not a checkpoint"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({}, "an empty dictionary"),
        ({"epoch": 3, "loss": 0.5}, r"only: epoch \(an int\), loss \(a float\)"),
        (torch.ones(3), "holds a Tensor"),
        (torch.optim.SGD([torch.ones(2)]).state_dict(), r"an optimizer's state, and no weights\n.*name the file"),
    ],
    ids=["list", "empty", "numbers", "tensor", "optimizer"],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("make", [lambda z: z.conj().imag, lambda z: z.conj()], ids=["negated", "conjugated"])
def test_a_pending_conjugation_is_not_dropped(tmp_path: Path, make: Any) -> None:
    torch.save({"w": make(torch.tensor([1 + 2j, 3 + 4j]))}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"no plain arrays: w \(conjugated or negated"):
        read(tmp_path / "a.pt")
