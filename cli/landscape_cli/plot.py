"""Draws stored results again; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.errors import UsageError
from landscape_cli import results


def plot(
    files: Annotated[list[Path], typer.Argument(metavar="RESULT...", help=".landscape.h5 files.", show_default=False)],
    analysis: Annotated[
        str | None, typer.Option("--analysis", metavar="NAME", help="Draw this result only, e.g. surface.")
    ] = None,
    solid: Annotated[bool, typer.Option("--solid", help="Draw surfaces as solids, in three dimensions.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="One picture: .png, .pdf or .svg; default beside the results."
        ),
    ] = None,
) -> None:
    """One picture for each result of a file, or the surfaces of several files in one picture on one scale."""
    held = [results.read(file) for file in files]
    _require_format(output)
    if solid and len(files) > 1:
        raise UsageError("--solid draws one surface at a time", fix="name one file")
    written = _together(held, output) if len(held) > 1 else _each(held[0], analysis, solid=solid, output=output)
    for picture in written:
        typer.echo(f"wrote {picture}", err=True)


def _require_format(output: Path | None) -> None:
    from landscape.figures import FORMATS

    if output is not None and output.suffix not in FORMATS:
        raise UsageError(
            f"-o {output} is no picture that can be drawn", fix=f"a name that ends in {', '.join(FORMATS)}"
        )


def _each(held: results.Results, analysis: str | None, *, solid: bool, output: Path | None) -> list[Path]:
    """A picture for each result that has one, or for the one that is named."""
    from landscape import figures
    from landscape.session import results_of_same_matrix
    from landscape.storage import paths

    if solid:
        analysis = "surface"
        if getattr(held.records.get("surface"), "beta", None) is None:
            raise UsageError(f"{held.file} holds no surface in two dimensions", fix="landscape surface CKPT --dim 2")
    drawn = [name for name, record in held.records.items() if figures.drawn(record) and analysis in (None, name)]
    if not drawn:
        listed = ", ".join(held.records)
        called = f" called {analysis}" if analysis else ""
        raise UsageError(f"{held.file} holds nothing to be drawn{called}", fix=f"it holds {listed}")
    if output is not None and len(drawn) > 1:
        raise UsageError(f"{held.file} holds {len(drawn)} pictures: {', '.join(drawn)}", fix="--analysis NAME")
    written = []
    for name in drawn:
        picture = output or paths.picture_file(held.file, name, solid=solid)
        figures.save_figure(
            held.records[name], picture, title=held.name(name), fingerprint=held.fingerprint(name),
            beside=results_of_same_matrix(held.groups, name), solid=solid,
        )  # fmt: skip
        written.append(picture)
    return written


def _together(held: list[results.Results], output: Path | None) -> list[Path]:
    """The surfaces of several files in one picture."""
    from landscape import figures

    missing = [str(one.file) for one in held if "surface" not in one.records]
    kinds = {one.records["surface"].beta is None for one in held if not missing}
    if missing or len(kinds) > 1:
        what = f"{missing[0]} holds no surface" if missing else "some of the surfaces are lines and some planes"
        raise UsageError(
            f"{what}: several files are drawn together if all hold planes, or all lines", fix="name others"
        )
    if output is None:
        raise UsageError("several files make one picture", fix="-o FILE.png")
    figures.save_surfaces(
        [one.records["surface"] for one in held],
        output,
        names=[one.name("surface") for one in held],
        fingerprint=" ".join(one.fingerprint("surface") for one in held),
    )
    return [output]
