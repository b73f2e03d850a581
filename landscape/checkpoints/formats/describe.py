"""Looks at a checkpoint: what it is, and what it holds. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from landscape.checkpoints.formats import safetensors_format, sniff, torch_format
from landscape.checkpoints.formats.contents import Contents
from landscape.errors import CheckpointError

BRING_MODEL = (sniff.EXPORTED, sniff.PICKLE)


def describe(path: Path) -> Contents:
    """What the checkpoint holds, read as data; raises CheckpointError for what is none, is damaged or runs code."""
    kind = sniff.sniff(path)
    if kind in sniff.RUN_CODE:
        raise _runs_code(path, kind)
    readers = {sniff.TORCH_ZIP: torch_format.describe_zip, sniff.TORCH_LEGACY: torch_format.describe_legacy}
    return readers[kind](path) if kind in readers else safetensors_format.describe_safetensors(path, kind)


def _runs_code(path: Path, kind: str) -> CheckpointError:
    """The error for a format that cannot be opened without running what is in it."""
    article = "an" if kind[0] in "aeiou" else "a"
    what = {
        sniff.PICKLE: "a bare pickle",
        sniff.DISTRIBUTED: "a distributed checkpoint, described by a pickle",
        sniff.EXPORTED: "a program of torch.export, whose sample inputs are a pickle",
        sniff.TORCHSCRIPT: "a TorchScript program",
    }.get(kind, f"{article} {kind}")
    model = "" if kind in BRING_MODEL else " --model model.py:build"
    return CheckpointError(
        f"{path} is {what}: opening it runs code from it",
        why="landscape opens checkpoints as data only",
        fix="save the weights alone: torch.save(model.state_dict(), path), or, "
        + torch_format.TRUST.format(path=path)
        + model,
    )
