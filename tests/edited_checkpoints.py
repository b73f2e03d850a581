"""Checkpoints of every kind that an edit may be given, and what is compared of them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import Tensor, nn

import landscape
from landscape.checkpoints.edits.write import write_edit
from landscape.storage import paths

STATE = {
    "a.weight": torch.arange(6.0).view(2, 3),
    "a.bias": torch.tensor([0.1, -0.2]),
    "half": torch.arange(5).half() / 3,
    "brain": torch.arange(7).bfloat16() / 3,
    "steps": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "empty": torch.ones(0, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
}


LARGE = {"large": torch.linspace(-1, 1, 5000), **STATE}


THIRDS = {
    "a.weight": torch.arange(6, dtype=torch.float64).view(2, 3) / 3,
    "half": torch.full((5,), 1 / 3, dtype=torch.float64),
    "brain": torch.linspace(-1, 1, 7, dtype=torch.float64) / 3,
    "scalar": torch.tensor(1 / 3, dtype=torch.float64),
    "steps": torch.tensor(8.0, dtype=torch.float64),
    "empty": torch.ones(0, 3, dtype=torch.float64),
}


ABOUT = {"method": "a test", "rho": 0.05, "layers": ["a"], "command": "none"}


def plain(folder: Path) -> Path:
    save_file(STATE, folder / "old.safetensors", {"format": "pt", "note": "ä"})
    return folder / "old.safetensors"


def torched(content: Any, folder: Path, *, zipped: bool = True) -> Path:
    torch.save(content, folder / "old.pt", _use_new_zipfile_serialization=zipped)
    return folder / "old.pt"


def with_optimizer(folder: Path, *, zipped: bool = True) -> Path:
    model = nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    loose = {"model": STATE, "optimizer": adam.state_dict(), "epoch": 3, "history": [torch.ones(4), "a word"]}
    return torched(loose, folder, zipped=zipped)


def of_landscape(folder: Path) -> Path:
    torch.save(
        {"state_dict": STATE, "landscape": landscape.checkpoints.Spec(about={"step": 5}).to_json()}
        | {"landscape_data": {"mask": torch.tensor([True, False]), "inputs": torch.rand(4, 3)}},
        folder / "old.pt",
    )
    return folder / "old.pt"


def sharded(folder: Path) -> Path:
    path = folder / "old"
    path.mkdir()
    homes = {name: f"model-{1 + place % 2}-of-2.safetensors" for place, name in enumerate(STATE)}
    for file in set(homes.values()):
        save_file({name: STATE[name] for name, home in homes.items() if home == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": homes}))
    (path / "vocab.txt").write_text("words")
    (path / "nothing").touch()
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "safetensors": plain,
    "zip": lambda folder: torched(STATE, folder),
    "legacy": lambda folder: torched(STATE, folder, zipped=False),
    "zip-with-optimizer": with_optimizer,
    "legacy-with-optimizer": lambda folder: with_optimizer(folder, zipped=False),
    "self-describing": of_landscape,
    "shards": sharded,
}


every_kind = pytest.mark.parametrize("kind", KINDS)


def edited(path: Path, changes: dict[str, Tensor] = THIRDS, **options: Any) -> Path:
    """The edited copy, in a folder of its own."""
    home = path.parent / "there"
    home.mkdir(exist_ok=True)
    output = home / ("new" if path.is_dir() else "new.safetensors")
    write_edit(path, changes, output, **{"about": ABOUT, **options})
    return output


def content(path: Path) -> dict[str, bytes]:
    """Every file under a path, by its place."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def header_and_data(path: Path) -> tuple[bytes, bytes]:
    """The JSON text and the tensors' bytes of a safetensors file."""
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    return whole[8:end], whole[end:]


def path_size(path: Path) -> int:
    return path.stat().st_size


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def rewrite_undo_file(output: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """The undo file with another manifest or other arrays."""
    path = paths.undo_file(output)
    with safe_open(path, framework="np") as file:
        said = json.loads(file.metadata()[paths.UNDO_KEY])
        arrays = {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118
    change(said, arrays)
    save_arrays(arrays, path, {paths.UNDO_KEY: json.dumps(said)})
