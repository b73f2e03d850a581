"""`landscape edit`: the analysis, and `--undo`, which needs no model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape.analyses import Analysis
from landscape.errors import UsageError
from landscape_cli.commands import analysis_command
from landscape_cli.options import argument, with_signature
from landscape_cli.streams import say

UNDO = argument(
    "undo",
    Annotated[
        bool,
        typer.Option("--undo", help="Restore the original of an edited checkpoint, bit for bit; -o names the copy."),
    ],
    False,
)


def edit_command(analysis: type[Analysis]) -> Callable[..., int]:
    """The function behind `landscape edit`: that of the analysis, with `--undo` beside its flags."""
    measure = analysis_command(analysis)
    signature = inspect.signature(measure)

    def invoke(context: typer.Context, checkpoints: list[Path] | None, undo: bool, **values: Any) -> int:
        if undo:
            return restore_originals(list(checkpoints or []), values["output"])
        return measure(context=context, checkpoints=checkpoints, **values)

    return with_signature(invoke, *signature.parameters.values(), UNDO)


def restore_originals(paths: list[Path], output: str | None) -> int:
    """Restores the originals of edited checkpoints, and returns the exit code; raises UsageError without any."""
    from landscape.checkpoints.edits.undo import undo_edit

    if not paths:
        raise UsageError("no edited checkpoint is named", fix="landscape edit CKPT.edited.safetensors --undo")
    if output and len(paths) > 1:
        raise UsageError("-o names one file for several originals", fix="undo them one by one")
    for path in paths:
        say(f"restored {undo_edit(path, Path(output) if output else None)}")
    return 0
