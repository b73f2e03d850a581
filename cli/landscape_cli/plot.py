"""`landscape plot`: draws stored results again; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.errors import UsageError
from landscape_cli.streams import say

if TYPE_CHECKING:
    from landscape.session import Results


def plot(
    files: Annotated[list[Path], typer.Argument(metavar="RESULT...", help=".landscape.h5 files.", show_default=False)],
    analysis: Annotated[
        str | None, typer.Option("--analysis", metavar="NAME", help="Draw this result only, e.g. surface.")
    ] = None,
    solid: Annotated[bool, typer.Option("--solid", help="Draw surfaces as solids, in three dimensions.")] = False,
    barcode: Annotated[
        bool, typer.Option("--barcode", help="Draw the minima of surfaces, with the losses at which basins merge.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="One picture: .png, .pdf or .svg; default beside the results."
        ),
    ] = None,
) -> None:
    """`landscape plot`: a picture for each result of a file, or the surfaces of several in one picture on one scale."""
    from landscape.history import History
    from landscape.session import read

    if solid and barcode:
        raise UsageError("--solid and --barcode are two pictures", fix="one of them")
    form = "solid" if solid else "barcode" if barcode else ""
    stored = [read(file) for file in files]
    _require_format(output)
    if any(isinstance(one, History) for one in stored):
        say(f"wrote {_draw_histories(files, stored, output)}")
        return
    if form and len(files) > 1:
        raise UsageError(f"--{form} draws one surface at a time", fix="name one file")
    written = (
        _draw_together(stored, output) if len(stored) > 1 else _draw_each(stored[0], analysis, form=form, output=output)
    )
    for picture in written:
        say(f"wrote {picture}")


def _require_format(output: Path | None) -> None:
    from landscape.figures import FORMATS

    if output is not None and output.suffix not in FORMATS:
        raise UsageError(
            f"-o {output} is no picture that can be drawn", fix=f"a name that ends in {', '.join(FORMATS)}"
        )


def _draw_each(stored: Results, analysis: str | None, *, form: str, output: Path | None) -> list[Path]:
    """A picture for each result that has one, or for the one that is named."""
    from landscape import figures
    from landscape.session import results_of_same_matrix
    from landscape.storage import paths

    if form:
        analysis = "surface"
        if form == "solid" and getattr(stored.records.get("surface"), "beta", None) is None:
            raise UsageError(f"{stored.file} holds no surface in two dimensions", fix="landscape surface CKPT --dim 2")
    drawn = [name for name, record in stored.records.items() if figures.drawn(record) and analysis in (None, name)]
    if not drawn:
        listed = ", ".join(stored.records)
        called = f" called {analysis}" if analysis else ""
        raise UsageError(f"{stored.file} holds nothing to be drawn{called}", fix=f"it holds {listed}")
    if output is not None and len(drawn) > 1:
        raise UsageError(f"{stored.file} holds {len(drawn)} pictures: {', '.join(drawn)}", fix="--analysis NAME")
    written = []
    for name in drawn:
        picture = output or paths.picture_file(stored.file, name, form=form)
        figures.save_figure(
            stored.records[name], picture, title=stored.title(name), fingerprint=stored.fingerprint(name),
            beside=results_of_same_matrix(stored.groups, name), form=form,
        )  # fmt: skip
        written.append(picture)
    return written


def _draw_histories(files: list[Path], stored: list[Any], output: Path | None) -> Path:
    """The picture of a run's history, or several in one."""
    from landscape import figures
    from landscape.history import History
    from landscape.side_by_side import labels_of_runs
    from landscape.storage import paths

    if not all(isinstance(one, History) for one in stored):
        raise UsageError("histories of runs are drawn together with each other alone", fix="name others")
    if len(stored) > 1:
        if output is None:
            raise UsageError("several files make one picture", fix="-o FILE.png")
        figures.save_histories(stored, output, labels=labels_of_runs(stored, files))
        return output
    picture = output or paths.picture_of_history(files[0])
    figures.save_figure(stored[0], picture, title=f"track {stored[0].run}", fingerprint=stored[0].fingerprint)
    return picture


def _draw_together(stored: list[Results], output: Path | None) -> list[Path]:
    """The surfaces of several files in one picture."""
    from landscape import figures

    missing = [str(one.file) for one in stored if "surface" not in one.records]
    kinds = {one.records["surface"].beta is None for one in stored if not missing}
    if missing or len(kinds) > 1:
        what = f"{missing[0]} holds no surface" if missing else "some of the surfaces are lines and some planes"
        raise UsageError(
            f"{what}: several files are drawn together if all hold planes, or all lines", fix="name others"
        )
    if output is None:
        raise UsageError("several files make one picture", fix="-o FILE.png")
    figures.save_surfaces(
        [one.records["surface"] for one in stored],
        output,
        names=[one.title("surface") for one in stored],
        fingerprint=" ".join(one.fingerprint("surface") for one in stored),
    )
    return [output]
