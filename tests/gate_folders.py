"""Folders in which `landscape check` runs: a small checkpoint, a clean environment, the metric that is fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

import landscape
from landscape.zoo import digits, mlp

Captured = pytest.CaptureFixture[str]
LAMBDA = "eig.eigenvalues[0]"
FAST = ["--metric", LAMBDA]
COMMAND = [sys.executable, "-m", "landscape_cli"]


def enter_clean_folder(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Enters a folder, with nothing in the environment that is meant for the command."""
    for name in [name for name in os.environ if name.startswith(("LANDSCAPE_", "GITHUB_"))]:
        patch.delenv(name)
    patch.delenv("CI", raising=False)
    patch.chdir(folder)


def save_checkpoint(path: str, scale: float = 1.0, seed: int = 0) -> str:
    """Saves a small self-describing checkpoint, whose weights are scaled: the larger, the sharper."""
    torch.manual_seed(seed)
    sizes = [64, 4, 10]
    model = mlp(sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    landscape.save(path, model, data=digits("test")[0], spec={"model": "mlp", "model_args": {"sizes": sizes}})
    return path
