"""Prints what a checkpoint holds, what is missing, and the next command; needs no torch and builds no model."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.errors import LandscapeError, UsageError
from landscape.storage import paths
from landscape_cli.config import Settings

if TYPE_CHECKING:
    from landscape.checkpoints.inspection import Inspection
    from landscape.checkpoints.spec import Spec

MOST_ROWS = 40  # of tensors, unless all are asked for
EXAMPLES = {"model": "model.py:build", "data": "data.py:batches"}


def inspect(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="CHECKPOINT", help="A file or directory.", show_default=False)
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Which weights: ema, raw, or the place of others.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List every tensor.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    from landscape.checkpoints.inspection import inspect as look

    settings = context.obj if isinstance(context.obj, Settings) else Settings()
    checkpoint = checkpoint or settings.checkpoint()
    if checkpoint is None:
        raise UsageError("no checkpoint is named", fix="landscape inspect CKPT")
    found = look(checkpoint, weights)
    command = next_command(found, weights, settings)
    if json:
        import json as writer

        typer.echo(writer.dumps({**document(found), "next": command}, allow_nan=False))
        return
    from landscape_cli import tables

    tables.print_rows(f"{checkpoint}: {found.format}", rows(found, settings))
    tables.print_tensors(found.tensors, None if every else MOST_ROWS)
    typer.echo(f"next:  {command}")


def document(found: Inspection) -> dict[str, Any]:
    """Everything that is known, for JSON."""
    plain = dataclasses.asdict(found)
    tensors = {name: {"shape": list(shape), "dtype": dtype} for name, (shape, dtype) in found.tensors.items()}
    return {**plain, "path": str(found.path), "tensors": tensors, "missing": list(found.missing())}


def rows(found: Inspection, settings: Settings) -> dict[str, str]:
    """What is known, in words, by what it is about."""
    kinds = ", ".join(f"{count} {dtype}" for dtype, count in found.dtypes.items())
    place = f" in {found.place}" if found.place else ""
    told = {
        "size": f"{found.nbytes:,} bytes",
        "weights": f"{len(found.tensors):,} tensors ({kinds}), {found.numbers:,} numbers{place}",
        "averaged weights": ", ".join(f"{place} (--weights ema)" for place in found.averaged[:1]),
        "other weights": ", ".join(f"--weights {place}" for place in found.others[:5]),
        "tied": "; ".join(" = ".join(names) for names in found.tied[:5]),
        "names may lose": ", ".join(found.wrappers),
        "optimiser": "Adam's state is there (--operator preconditioned)" if found.optimizer else "",
        "model": _told(found, "model", settings),
        "data": _told(found, "data", settings),
        "loss": (found.spec.loss if found.spec else None) or str(settings.values.get("loss") or ""),
        "passed over": ", ".join(found.passed_over),
        "edited": _edited(found),
        **{f"entry {name}": words for name, words in found.entries.items()},
    }
    return {about: words for about, words in told.items() if words}


def next_command(found: Inspection, weights: str | None, settings: Settings) -> str:
    """The measurement to type, with a placeholder for whatever is told nowhere."""
    missing = [kind for kind in found.missing() if kind not in settings.values]
    from landscape.checkpoints.formats.directories import CONFIG_FILE, WEIGHTS_FILE

    path = found.path
    if path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).is_file():  # the directory describes its model
        return shlex.join(["landscape", "inspect", str(path.parent)])
    words = ["landscape", "eig", str(path), *(["--weights", weights] if weights else [])]
    for module in _unregistered(found.spec):
        words += ["--trusted-modules", module]
    examples = {**EXAMPLES, "data": "batch.safetensors"} if found.architecture else EXAMPLES
    for kind in missing:
        words += [f"--{kind}", examples[kind]]
    return shlex.join(words)


def _unregistered(spec: Spec | None) -> list[str]:
    """The modules that the checkpoint's own description names, which its reader must trust."""
    named = [value for value in (spec.model, spec.data, spec.loss) if value and ":" in value] if spec else []
    return list(dict.fromkeys(name.rpartition(":")[0] for name in named))


def _edited(found: Inspection) -> str:
    """What an edit says of itself, if the checkpoint is one's."""
    if not paths.undo_file(found.path).is_file():
        return ""
    from landscape.checkpoints.edits.undo import read_manifest

    try:
        said = read_manifest(found.path)
    except LandscapeError as error:
        return error.what
    facts = ", ".join(f"{name} {value}" for name, value in said["about"].items() if name != "layers")
    return f"{len(said['changed'])} tensors of {said['original']['name']} ({facts}); landscape edit --undo restores it"


def _told(found: Inspection, kind: str, settings: Settings) -> str:
    """What the model or the data is, and who says so."""
    spec = found.spec
    named = getattr(spec, kind) if spec else None
    if named:
        given = getattr(spec, f"{kind}_args")
        return f"{named}({', '.join(f'{name}={value!r}' for name, value in given.items())}), as the checkpoint says"
    if kind == "model" and found.architecture:
        return f"{found.architecture}, by its config.json"
    if kind == "data" and found.batch:
        return "a batch inside the checkpoint"
    if kind in settings.values:
        return f"{settings.values[kind]}, from {settings.path}"
    return f"not told: --{kind}, or {kind} = ... in landscape.toml"
