"""`landscape compare`: the words of the command; `landscape_cli.compared_results` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

Format = Literal["table", "markdown", "csv", "json", "html"]


def compare_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="RESULT...", help="Results files, or checkpoints that have one.", show_default=False),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Compare this number, as `check --list` names it. Repeatable."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All elements of arrays, and not the first three.")] = False,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=PATH", help="What a file is called; default: the path's own end."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="|".join(get_args(Format)), help="Default: a table, or as -o ends."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write it (.md, .csv, .json, .html, .txt), or a picture (.png, .pdf, .svg). Repeatable.",
        ),
    ] = None,
) -> None:
    """`landscape compare`: one table with errors, differences from the first, and one picture of what all have."""
    from landscape_cli.compared_results import compare_files

    compare_files(files, metrics=metric, every=every, labels=label or [], form=form, outputs=output or [])
