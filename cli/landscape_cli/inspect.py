"""Prints what a checkpoint holds, what is missing, and the next command; needs no torch and builds no model."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape_cli.config import Settings

if TYPE_CHECKING:
    from landscape.checkpoints.inspection import Inspection

MOST_ROWS = 40  # of tensors, unless all are asked for
EXAMPLES = {"model": "model.py:build", "data": "data.py:batches"}


def inspect(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A file or directory.", show_default=False)],
    weights: Annotated[
        str | None, typer.Option("--weights", help="Which weights: ema, raw, or the place of others.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List every tensor.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    from landscape.checkpoints.inspection import inspect as look

    found = look(checkpoint, weights)
    settings = context.obj if isinstance(context.obj, Settings) else Settings()
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
        "names will lose": ", ".join(found.wrappers),
        "optimiser": "its state is there (--operator preconditioned)" if found.optimizer else "",
        "model": _told(found, "model", settings),
        "data": _told(found, "data", settings),
        "loss": (found.spec.loss if found.spec else None) or str(settings.values.get("loss") or ""),
        "passed over": ", ".join(found.passed_over),
        **{f"entry {name}": words for name, words in found.entries.items()},
    }
    return {about: words for about, words in told.items() if words}


def next_command(found: Inspection, weights: str | None, settings: Settings) -> str:
    """The measurement to type, with a placeholder for whatever is told nowhere."""
    missing = [kind for kind in found.missing() if kind not in settings.values]
    words = ["landscape", "eig", str(found.path), *(["--weights", weights] if weights else [])]
    examples = {**EXAMPLES, "data": "batch.safetensors"} if found.architecture else EXAMPLES
    for kind in missing:
        words += [f"--{kind}", examples[kind]]
    return shlex.join(words)


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
