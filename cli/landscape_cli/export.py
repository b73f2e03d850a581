"""`landscape export`: surfaces in the formats of other programs; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.errors import UsageError
from landscape_cli.results import load_results
from landscape_cli.streams import say


def export(
    file: Annotated[Path, typer.Argument(help="A .landscape.h5 file with a surface.", show_default=False)],
    vts: Annotated[bool, typer.Option("--vts", help="Structured grids of VTK, for ParaView.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A table with a line for each point.")] = False,
) -> None:
    """`landscape export`: writes the surface of a results file beside it, a file for each plane."""
    from landscape import export as exports
    from landscape.storage import paths
    from landscape.storage.atomic_files import replace_file

    records = load_results(file).records
    if "surface" not in records:
        raise UsageError(f"{file} holds no surface", fix="landscape surface CKPT")
    if not (vts or csv):
        raise UsageError("no format is named", fix="--vts for ParaView, --csv for a table")
    result = records["surface"]
    for suffix, content in [*(exports.vts(result) if vts else []), *(exports.csv(result) if csv else [])]:
        path = paths.beside(file, f"surface{suffix}")
        replace_file(path, content.encode())
        say(f"wrote {path}")
