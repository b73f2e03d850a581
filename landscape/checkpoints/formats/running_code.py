"""Formats whose files run code when their own library opens them: detected and refused, unless the user trusts them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

from landscape.checkpoints.formats.format import Format
from landscape.errors import CheckpointError

TRUST = "if you trust the file:  landscape eig {path} --trust"


def refuse(path: Path, what: str, *, brings_model: bool) -> NoReturn:
    """Raises CheckpointError that says what the file is, and how to save its weights as data."""
    model = "" if brings_model else " --model model.py:build"
    raise CheckpointError(
        f"{path} is {what}: opening it runs code from it",
        why="landscape opens checkpoints as data only",
        fix=f"save the weights alone: torch.save(model.state_dict(), path), or, {TRUST.format(path=path)}{model}",
    )


EXPORTED = Format(
    "torch.export program",
    lambda candidate: bool(
        {"archive_format", "models/model.json", "serialized_exported_program.json"} & candidate.zip_members
    ),
    partial(refuse, what="a program of torch.export, whose sample inputs are a pickle", brings_model=True),
)
TORCHSCRIPT = Format(
    "TorchScript",
    lambda candidate: any(name == "constants.pkl" or name.startswith("code/") for name in candidate.zip_members),
    partial(refuse, what="a TorchScript program", brings_model=False),
)
