"""Checks what a measurement relies on, and says it in a form that a bug report can carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.conditions import Conditions
from landscape.errors import EXIT_FAILURE, UsageError
from landscape.fields import Option, described_fields
from landscape_cli import options

if TYPE_CHECKING:
    from landscape.objective import Objective


def command() -> Callable[..., int]:
    """The function behind `landscape doctor`: a checkpoint, and the conditions that every command has."""

    def invoke(context: typer.Context, checkpoint: Path | None, json: bool, **values: Any) -> int:
        checkpoint = checkpoint or context.obj.checkpoint()
        return examine(checkpoint, json, options.record(Conditions, values), options.origins(context))

    path = Annotated[Path | None, typer.Argument(metavar="CHECKPOINT", help="Its model is checked too.")]
    as_json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for a bug report.")]
    return options.shaped(
        invoke,
        options.argument("context", typer.Context),
        options.argument("checkpoint", path, None),
        options.argument("json", as_json, False),
        *(options.parameter(field, "Conditions") for field in described_fields(Conditions, Option)),
    )


def examine(checkpoint: Path | None, json: bool, conditions: Conditions, origins: Mapping[str, str]) -> int:
    """The exit code: 0 if all is well, 2 if something is not."""
    from landscape import doctor

    if (
        checkpoint is None
        and (conditions.model or conditions.data)
        and "a flag" in (origins.get("model"), origins.get("data"))
    ):
        raise UsageError("no checkpoint is named", fix="landscape doctor CKPT --model ... --data ...")

    def own() -> Objective:
        from landscape.loading import load

        assert checkpoint is not None
        return load(checkpoint, replace(conditions, dtype="float64"), origins=origins)

    checks = []
    for check in doctor.diagnose(Path.cwd(), own if checkpoint else None):
        checks.append(check)
        if not json:
            typer.echo(f"{'ok  ' if check.passed else 'FAIL'}  {check.name}: {check.found}")
            if not check.passed:
                typer.echo(f"      fix:  {check.fix}")
    if json:
        import json as writer

        typer.echo(writer.dumps({"passed": all(c.passed for c in checks), "checks": [asdict(c) for c in checks]}))
    else:
        unlooked = "" if checkpoint else "; no checkpoint is named, so that no model of yours was checked"
        typer.echo(doctor.summary(checks) + unlooked)
    return 0 if all(check.passed for check in checks) else EXIT_FAILURE
