"""`landscape export`: stored results in the formats of other programs; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.errors import UsageError
from landscape_cli.streams import say


def export(
    file: Annotated[Path, typer.Argument(metavar="RESULT", help="A .landscape.h5 file.", show_default=False)],
    vts: Annotated[bool, typer.Option("--vts", help="Surfaces as structured grids of VTK, for ParaView.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Every result as tables, a file for each.")] = False,
) -> None:
    """`landscape export`: writes the results of a file beside it, a file for each table, and for each plane."""
    from landscape.export import export_results

    if not (vts or csv):
        raise UsageError("no format is named", fix="--vts for ParaView, --csv for tables")
    for path in export_results(file, grids=vts, tables=csv):
        say(f"wrote {path}")
