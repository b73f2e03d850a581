"""`landscape report`: the words of the command; `landscape_cli.reported_results` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

REPORT = Path("report.html")  # the default name of a page


def report_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT|DIR...",
            help="Results files, folders of some, or checkpoints that have one.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page, a name in .html.")] = REPORT,
    static: Annotated[
        bool, typer.Option("--static", help="Pictures without values on hover: a third of the size.")
    ] = False,
) -> int:
    """`landscape report`: one page of HTML that needs nothing beside itself."""
    from landscape_cli.reported_results import report_results

    return report_results(files, output, static=static)
