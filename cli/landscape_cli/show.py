"""Prints what a results file holds; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.analyses import ANALYSES
from landscape.errors import OutputError

REQUIRED = {
    "checkpoint", "checkpoint_sha256", "fingerprint", "fingerprint_parts", "wall_time_s", "status", "conditions",
    "options", "resolved_from", "environment", "notes", "data_sha256", "mode", "device", "dtype",
}  # fmt: skip


def show(
    file: Annotated[Path, typer.Argument(help="A .landscape.h5 file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the plots again, beside the file.")] = False,
) -> None:
    from landscape import store
    from landscape.session import label, sound

    kinds = {analysis.name: analysis.result for analysis in ANALYSES}
    groups = store.read(file)
    records = {name: store.as_record(kinds[name], group) for name, group in groups.items() if name in kinds}
    incomplete = [
        name for name in records if not (groups[name].attributes.keys() >= REQUIRED and sound(groups[name].attributes))
    ]
    if incomplete:
        raise OutputError(f"{file}: /{incomplete[0]} lacks its attributes, or they are damaged", fix="measure again")
    if not records:
        raise OutputError(f"{file} holds no result that this version knows")
    names = {name: label(groups[name].attributes) for name in records}
    if json:
        import json as writer

        from landscape.session import document

        documents = [document(name, record, groups[name].attributes) for name, record in records.items()]
        typer.echo(writer.dumps(documents[0] if len(documents) == 1 else documents, allow_nan=False))
    else:
        from landscape_cli import tables

        for name, record in records.items():
            tables.print_measurements([(names[name], record, groups[name].attributes["wall_time_s"])])
    if plot:
        from landscape import figures
        from landscape.session import companions

        for name, record in records.items():
            if not figures.drawn(record):
                continue
            picture = store.beside(file, f"{name}.png")
            figures.save(
                record,
                picture,
                title=names[name],
                fingerprint=str(groups[name].attributes["fingerprint"]),
                beside=companions(groups, name),
            )
            typer.echo(f"wrote {picture}", err=True)
