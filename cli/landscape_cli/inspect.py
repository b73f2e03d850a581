"""`landscape inspect`: what a checkpoint holds, what is missing, and the next command.

It needs no torch and builds no model.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.errors import LandscapeError, UsageError, listing, shell_line
from landscape.storage import paths
from landscape_cli.config import Settings
from landscape_cli.streams import answer

if TYPE_CHECKING:
    from landscape.checkpoints.inspection import Inspection
    from landscape.checkpoints.spec import Spec

MAX_KINDS = 20  # of objects that were passed over; --json lists all
MAX_TENSOR_ROWS = 40  # of tensors, unless all are asked for
PLACEHOLDERS = {"model": "model.py:build", "data": "data.py:batches"}


def inspect_command(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="CHECKPOINT", help="A file or directory.", show_default=False)
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Which weights: ema, raw, or the place of others.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List every tensor.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """`landscape inspect`: prints tables, or one JSON document."""
    from landscape.checkpoints.inspection import inspect

    settings = context.obj if isinstance(context.obj, Settings) else Settings()
    checkpoint = checkpoint or settings.checkpoint()
    if checkpoint is None:
        raise UsageError("no checkpoint is named", fix="landscape inspect CKPT")
    inspection = inspect(checkpoint, weights)
    command = next_command(inspection, weights, settings)
    if as_json:
        typer.echo(json.dumps({**inspection_document(inspection), "next": command}, allow_nan=False))
        return
    from landscape_cli import tables

    tables.print_rows(f"{checkpoint}: {inspection.format}", inspection_rows(inspection, settings))
    tables.print_tensors(inspection.tensors, None if every else MAX_TENSOR_ROWS)
    answer(f"next:  {command}")


def inspection_document(inspection: Inspection) -> dict[str, Any]:
    """The whole inspection as plain data for JSON."""
    plain = dataclasses.asdict(inspection)
    tensors = {name: {"shape": list(shape), "dtype": dtype} for name, (shape, dtype) in inspection.tensors.items()}
    return {**plain, "path": str(inspection.path), "tensors": tensors, "missing": list(inspection.missing())}


def inspection_rows(inspection: Inspection, settings: Settings) -> dict[str, str]:
    """The rows of the printed table: descriptions by subject, without empty ones."""
    kinds = ", ".join(f"{count} {dtype}" for dtype, count in inspection.dtypes.items())
    place = f" in {inspection.place}" if inspection.place else ""
    rows = {
        "size": f"{inspection.nbytes:,} bytes",
        "weights": f"{len(inspection.tensors):,} tensors ({kinds}), {inspection.numbers:,} numbers{place}",
        "averaged weights": ", ".join(f"{place} (--weights ema)" for place in inspection.averaged[:1]),
        "other weights": ", ".join(f"--weights {place}" for place in inspection.others[:5]),
        "tied": "; ".join(" = ".join(names) for names in inspection.tied[:5]),
        "names may lose": ", ".join(inspection.wrappers),
        "optimizer": "Adam's state is there (--operator preconditioned)" if inspection.optimizer else "",
        "model": _describe_source(inspection, "model", settings),
        "data": _describe_source(inspection, "data", settings),
        "loss": (inspection.spec.loss if inspection.spec else None) or str(settings.values.get("loss") or ""),
        "passed over": listing(inspection.passed_over, MAX_KINDS),
        "edited": _describe_edit(inspection),
        **{f"entry {name}": words for name, words in inspection.entries.items()},
    }
    return {about: words for about, words in rows.items() if words}


def next_command(inspection: Inspection, weights: str | None, settings: Settings) -> str:
    """The measurement to type, with a placeholder for what neither the checkpoint nor the settings name."""
    from landscape.checkpoints.formats.directories import CONFIG_FILE, WEIGHTS_FILE

    missing = [kind for kind in inspection.missing() if kind not in settings.values]
    path = inspection.path
    if path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).is_file():  # the directory describes its model
        return shell_line(["landscape", "inspect", str(path.parent)])
    typed = f"./{path}" if str(path).startswith("-") else str(path)  # else it would be an option
    words = ["landscape", "eig", typed, *(["--weights", weights] if weights else [])]
    for module in _modules_to_trust(inspection.spec):
        words += ["--trusted-modules", module]
    placeholders = {**PLACEHOLDERS, "data": "batch.safetensors"} if inspection.architecture else PLACEHOLDERS
    for kind in missing:
        words += [f"--{kind}", placeholders[kind]]
    return shell_line(words)


def _modules_to_trust(spec: Spec | None) -> list[str]:
    """The modules that the checkpoint's own description names, which its reader must trust."""
    named = [value for value in (spec.model, spec.data, spec.loss) if value and ":" in value] if spec else []
    return list(dict.fromkeys(name.rpartition(":")[0] for name in named))


def _describe_edit(inspection: Inspection) -> str:
    """The edit that made the checkpoint, from its undo file; empty if landscape has not edited it."""
    if not paths.undo_file(inspection.path).is_file():
        return ""
    from landscape.checkpoints.edits.undo import read_manifest

    try:
        manifest = read_manifest(inspection.path)
    except LandscapeError as error:
        return error.what
    facts = ", ".join(f"{name} {value}" for name, value in manifest["about"].items() if name != "layers")
    original = manifest["original"]["name"]
    return f"{len(manifest['changed'])} tensors of {original} ({facts}); landscape edit --undo restores it"


def _describe_source(inspection: Inspection, kind: str, settings: Settings) -> str:
    """The model or the data, and whether the checkpoint or the settings name it."""
    spec = inspection.spec
    named = getattr(spec, kind) if spec else None
    if named:
        given = getattr(spec, f"{kind}_args")
        return f"{named}({', '.join(f'{name}={value!r}' for name, value in given.items())}), as the checkpoint says"
    if kind == "model" and inspection.architecture:
        return f"{inspection.architecture}, by its config"
    if kind == "data" and inspection.batch:
        return "a batch inside the checkpoint"
    if kind in settings.values:
        return f"{settings.values[kind]}, from {settings.path}"
    return f"not named: --{kind}, or {kind} = ... in landscape.toml"
