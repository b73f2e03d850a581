"""`landscape show`: prints stored results; needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape_cli.columns import Column

if TYPE_CHECKING:
    from landscape.history import History


def show(
    file: Annotated[Path, typer.Argument(metavar="RESULT", help="A .landscape.h5 file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print every number.")] = False,
) -> None:
    """`landscape show`: prints every result of a file, or the history of a run."""
    from landscape.history import History
    from landscape.session import read

    stored = read(file)
    if isinstance(stored, History):
        if as_json:
            typer.echo(json.dumps(stored.to_document(), allow_nan=False))
        else:
            print_history(stored)
        return
    if as_json:
        from landscape.session import json_document

        documents = [json_document(name, one, stored.groups[name].attributes) for name, one in stored.records.items()]
        typer.echo(json.dumps(documents[0] if len(documents) == 1 else documents, allow_nan=False))
        return
    from landscape_cli.result_tables import print_measurements

    for name, record in stored.records.items():
        row = stored.title(name), record, stored.groups[name].attributes["wall_time_s"]
        print_measurements([row], verbose=verbose)


def print_history(history: History) -> None:
    """Prints the first numbers of a history, a line for each step."""
    from landscape.history.summary import meaning
    from landscape_cli import tables

    (step, name, *heads), rows = history.short_table()
    columns = [Column.of_numbers(step), Column(name), *map(Column.of_numbers, heads)]
    tables.print_grid(columns, rows, title=f"track {history.run}")
    if sentence := meaning(history):
        tables.print_line(sentence)
