"""Prints what a results file holds; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape_cli import results


def show(
    file: Annotated[Path, typer.Argument(help="A .landscape.h5 file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    held = results.read(file)
    if json:
        import json as writer

        from landscape.session import json_document

        documents = [json_document(name, record, held.groups[name].attributes) for name, record in held.records.items()]
        typer.echo(writer.dumps(documents[0] if len(documents) == 1 else documents, allow_nan=False))
        return
    from landscape_cli import tables

    for name, record in held.records.items():
        tables.print_measurements([(held.name(name), record, held.groups[name].attributes["wall_time_s"])])
