"""`landscape plot`: draws stored results again; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.errors import UsageError
from landscape.fields import Option, described_fields, flag
from landscape.figures.look import Look
from landscape.storage import paths
from landscape_cli.options import argument, build_record, parameters, with_signature
from landscape_cli.streams import say

if TYPE_CHECKING:
    from landscape.session import Results

OWN_FLAGS = ("form",)  # of the look: --solid and --barcode
FORMATS = tuple(ending.removeprefix(".") for ending in paths.PICTURES)
OF_RESULTS = ("panel", *OWN_FLAGS)  # what a figure of several files, or of a run's history, does not have


def plot_command() -> Callable[..., None]:
    """The function of the command; its signature has the fields of the look."""

    def plot(
        files: list[Path],
        *,
        analysis: str | None,
        output: Path | None,
        format_: str | None,
        solid: bool,
        barcode: bool,
        no_title: bool,
        **values: Any,
    ) -> None:
        """`landscape plot`: a picture for each result of a file, or the surfaces of several in one, on one scale."""
        if solid and barcode:
            raise UsageError("--solid and --barcode are two pictures", fix="one of them")
        if no_title and values["title"] is not None:
            raise UsageError("--title and --no-title exclude each other", fix="one of them")
        form = "solid" if solid else "barcode" if barcode else None
        title = "" if no_title else values["title"]
        look = build_record(Look, {**values, "form": form, "title": title})
        for picture in _draw(files, analysis, look, output, _ending(output, format_)):
            say(f"wrote {picture}")

    return with_signature(plot, *_arguments())


def _arguments() -> list[Any]:
    """The parameters of the command: files, which results, where to, and the look."""
    files = typer.Argument(metavar="RESULT...", help=".landscape.h5 files.", show_default=False)
    name = typer.Option("--analysis", metavar="NAME", help="Draw this result only, e.g. surface.")
    solid = typer.Option("--solid", help="Draw surfaces as solids, in three dimensions.")
    barcode = typer.Option("--barcode", help="Draw the minima of surfaces, with the losses at which basins merge.")
    output = typer.Option(
        "--output", "-o", metavar="FILE", help="One picture: .png, .pdf or .svg; default beside the results."
    )
    form = typer.Option("--format", metavar="|".join(FORMATS), help="Format of pictures beside the results.")
    untitled = typer.Option("--no-title", help="No title, and no heading of a panel that is alone.")
    fields = [field for field in described_fields(Look, Option) if field.name not in OWN_FLAGS]
    return [
        argument("files", Annotated[list[Path], files]),
        argument("analysis", Annotated[str | None, name], None),
        argument("solid", Annotated[bool, solid], False),
        argument("barcode", Annotated[bool, barcode], False),
        argument("output", Annotated[Path | None, output], None),
        argument("format_", Annotated[str | None, form], None),
        *parameters(fields, "Look", environment=False),
        argument("no_title", Annotated[bool, untitled], False),
    ]


def _ending(output: Path | None, name: str | None) -> str:
    """The ending of pictures; raises UsageError for a format that cannot be drawn, and for two different ones."""
    if name is not None and name not in FORMATS:
        raise UsageError(f"--format is {name!r}", fix=f"one of {', '.join(FORMATS)}")
    if output is None:
        return f".{name or FORMATS[0]}"
    if output.suffix not in paths.PICTURES:
        raise UsageError(
            f"-o {output} is no picture that can be drawn", fix=f"a name that ends in {', '.join(paths.PICTURES)}"
        )
    if name is not None and output.suffix != f".{name}":
        raise UsageError(f"-o {output} and --format {name} are two formats", fix="one of them")
    return output.suffix


def _draw(files: list[Path], analysis: str | None, look: Look, output: Path | None, ending: str) -> Sequence[Path]:
    """The pictures that are drawn of the files."""
    from landscape.history import History
    from landscape.session import read

    stored = [read(file) for file in files]
    if any(isinstance(one, History) for one in stored):
        return [_draw_histories(files, stored, look, output, ending)]
    if len(stored) > 1:
        _require_whole(look, "several surfaces in one picture")
        return _draw_together(stored, look, output)
    return _draw_each(stored[0], analysis, look, output, ending)


def _require_whole(look: Look, what: str) -> None:
    """Raises UsageError if the look chooses a part or a form of one result."""
    for name in OF_RESULTS:
        if value := getattr(look, name):
            named = f"--{value}" if name in OWN_FLAGS else flag(name)
            raise UsageError(f"{named} is for one result, not for {what}", fix="name one file of results")


def _draw_each(stored: Results, analysis: str | None, look: Look, output: Path | None, ending: str) -> list[Path]:
    """A picture for each result that has one, or for the one that is named."""
    from landscape import figures
    from landscape.session import results_of_same_matrix

    if flags := look.of_surfaces():
        if analysis not in (None, "surface"):
            raise UsageError(f"{flags[0]} is for surfaces, not for {analysis}", fix="--analysis surface")
        analysis = "surface"
        if look.form == "solid" and getattr(stored.records.get("surface"), "beta", None) is None:
            raise UsageError(f"{stored.file} holds no surface in two dimensions", fix="landscape surface CKPT --dim 2")
    drawn = _with_panels(stored, _drawn(stored, analysis), look.panel)
    if output is not None and len(drawn) > 1:
        raise UsageError(f"{stored.file} holds {len(drawn)} pictures: {', '.join(drawn)}", fix="--analysis NAME")
    part = "-".join([*([look.form] if look.form else []), *look.panel])
    written = []
    for name in drawn:
        picture = output or paths.picture_file(stored.file, name, form=part, ending=ending)
        figures.save(
            stored.records[name], picture, heading=stored.title(name), fingerprint=stored.fingerprint(name),
            beside=results_of_same_matrix(stored.groups, name), **vars(look),
        )  # fmt: skip
        written.append(picture)
    return written


def _drawn(stored: Results, analysis: str | None) -> list[str]:
    """The results that have a picture, or the one that is named; raises UsageError if there are none."""
    from landscape import figures

    names = [name for name, record in stored.records.items() if figures.drawn(record) and analysis in (None, name)]
    if not names:
        listed = ", ".join(stored.records)
        called = f" called {analysis}" if analysis else ""
        raise UsageError(f"{stored.file} holds nothing to be drawn{called}", fix=f"it holds {listed}")
    return names


def _with_panels(stored: Results, names: list[str], panels: Sequence[str]) -> list[str]:
    """Those of the results that have all of the panels; raises UsageError if none has."""
    from landscape import figures

    known = {name: figures.panel_names(stored.records[name]) for name in names}
    found = [name for name in names if set(panels) <= set(known[name])]
    if panels and not found:
        listed = "; ".join(f"{name}: {', '.join(known[name])}" for name in names)
        raise UsageError(f"{stored.file} has no panel {' with '.join(panels)}", fix=f"one of {listed}")
    return found


def _draw_histories(files: list[Path], stored: list[Any], look: Look, output: Path | None, ending: str) -> Path:
    """The picture of a run's history, or several in one."""
    from landscape import figures
    from landscape.history import History
    from landscape.side_by_side import caveats_of_runs, labels_of_runs

    if not all(isinstance(one, History) for one in stored):
        raise UsageError("histories of runs are drawn together with each other alone", fix="name others")
    if flags := look.of_surfaces():
        raise UsageError(f"{flags[0]} is for surfaces, not for histories", fix=f"leave {flags[0]} out")
    if len(stored) > 1:
        _require_whole(look, "several runs in one picture")
        if output is None:
            raise UsageError("several files make one picture", fix="-o FILE.png")
        labels = labels_of_runs(stored, files)
        figures.save_histories(stored, output, labels=labels, caveats=caveats_of_runs(stored, labels), **vars(look))
        return output
    picture = output or paths.picture_of_history(files[0], part="-".join(look.panel), ending=ending)
    figures.save(stored[0], picture, fingerprint=stored[0].fingerprint, **vars(look))
    return picture


def _draw_together(stored: list[Results], look: Look, output: Path | None) -> list[Path]:
    """The surfaces of several files in one picture."""
    from landscape import figures
    from landscape.side_by_side import caveats

    missing = [str(one.file) for one in stored if "surface" not in one.records]
    kinds = {one.records["surface"].beta is None for one in stored if not missing}
    if missing or len(kinds) > 1:
        what = f"{missing[0]} holds no surface" if missing else "some of the surfaces are lines and some planes"
        raise UsageError(
            f"{what}: several files are drawn together if all hold planes, or all lines", fix="name others"
        )
    if output is None:
        raise UsageError("several files make one picture", fix="-o FILE.png")
    names = [one.title("surface") for one in stored]
    figures.save_surfaces(
        [one.records["surface"] for one in stored],
        output,
        names=names,
        fingerprint=" ".join(one.fingerprint("surface") for one in stored),
        caveats=caveats(stored, names, ["surface"]),
        **vars(look),
    )
    return [output]
