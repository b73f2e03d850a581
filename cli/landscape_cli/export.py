"""`landscape export`: stored results in the formats of other programs; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.errors import UsageError
from landscape_cli.streams import say


def export(
    file: Annotated[Path, typer.Argument(help="A .landscape.h5 file.", show_default=False)],
    vts: Annotated[bool, typer.Option("--vts", help="Surfaces as structured grids of VTK, for ParaView.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Every result as tables, a file for each.")] = False,
) -> None:
    """`landscape export`: writes the results of a file beside it, a file for each table, and for each plane."""
    from landscape import export as exports
    from landscape.session import read
    from landscape.storage import paths
    from landscape.storage.atomic_files import replace_file

    records = read(file).records
    if not (vts or csv):
        raise UsageError("no format is named", fix="--vts for ParaView, --csv for tables")
    if vts and "surface" not in records:
        raise UsageError(f"{file} holds no surface", fix="landscape surface CKPT")
    named = [(f"surface{suffix}", content) for suffix, content in (exports.vts(records["surface"]) if vts else ())]
    for name, result in records.items() if csv else ():
        named += [(f"{name}{suffix}", content) for suffix, content in exports.csv(result)]
    for name, content in named:
        path = paths.beside(file, name)
        replace_file(path, content.encode())
        say(f"wrote {path}")
