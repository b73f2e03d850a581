"""`landscape show`: prints stored results; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def show(
    file: Annotated[Path, typer.Argument(help="A .landscape.h5 file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """`landscape show`: prints every result of a file."""
    from landscape.session import read

    stored = read(file)
    if as_json:
        from landscape.session import json_document

        documents = [json_document(name, one, stored.groups[name].attributes) for name, one in stored.records.items()]
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else documents, allow_nan=False))
        return
    from landscape_cli import tables

    for name, record in stored.records.items():
        tables.print_measurements([(stored.title(name), record, stored.groups[name].attributes["wall_time_s"])])
