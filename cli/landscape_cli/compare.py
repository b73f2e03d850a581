"""`landscape compare`: stored results of several checkpoints beside each other; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from landscape.errors import UsageError
from landscape_cli.streams import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landscape.session import Results
    from landscape.side_by_side import SideBySide

Format = Literal["table", "markdown", "csv", "json", "html"]
SUFFIXES: dict[str, Format] = {".md": "markdown", ".csv": "csv", ".json": "json", ".html": "html", ".txt": "table"}


def compare(
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
    from landscape.session import read
    from landscape.side_by_side import compare as put_side_by_side
    from landscape.side_by_side import results_beside

    stored = [read(results_beside(file)) for file in files]
    table = put_side_by_side(*stored, labels=_labels(files, label or []), metrics=metric, every=every)
    kinds = [_kind_of(path, form) for path in output or []]
    for path, kind in zip(output or [], kinds, strict=True):
        _write(table, stored, path, kind)
        say(f"wrote {path}")
    if not output or (form is not None and all(kind == "picture" for kind in kinds)):
        _print(table, _known(form or "table"))


def _labels(files: Sequence[Path], named: Sequence[str]) -> list[str] | None:
    """The labels of all files, if some are named; raises UsageError for a label of another file."""
    if not named:
        return None
    from landscape.gates.entry import short_names
    from landscape.storage import paths

    pairs = dict(text.partition("=")[::2][::-1] for text in named)
    if wrong := [path for path in pairs if Path(path) not in files]:
        raise UsageError(f"--label names {wrong[0] or named[0]}, which is not compared", fix="--label NAME=PATH")
    usual = [name.removesuffix(paths.RESULTS) for name in short_names([str(file) for file in files])]
    return [pairs.get(str(file), name) for file, name in zip(files, usual, strict=True)]


def _kind_of(path: Path, form: str | None) -> str:
    """What is written into a file: a picture, or the table in the format that is named, or that its name ends in."""
    from landscape.storage import paths

    if path.suffix in paths.PICTURES:
        return "picture"
    if form is None and path.suffix not in SUFFIXES:
        known = ", ".join([*SUFFIXES, *paths.PICTURES])
        raise UsageError(f"-o {path} says no format", fix=f"a name that ends in {known}, or --format")
    return _known(form or SUFFIXES[path.suffix])


def _known(form: str) -> Format:
    if form not in get_args(Format):
        raise UsageError(f"--format is {form!r}", fix=f"one of {', '.join(get_args(Format))}")
    return form  # type: ignore[return-value]


def _write(table: SideBySide, stored: Sequence[Results], path: Path, kind: str) -> None:
    from landscape.storage.atomic_files import replace_file

    if kind != "picture":
        replace_file(path, _text(table, kind).encode())
        return
    from landscape import figures

    fingerprints = " ".join(one.fingerprint(name) for one in stored for name in one)
    figures.save_overlay([one.records for one in stored], path, labels=table.labels, fingerprint=fingerprints)


def _print(table: SideBySide, form: Format) -> None:
    if form != "table":
        typer.echo(_text(table, form), nl=False)
        return
    from landscape_cli import tables
    from landscape_cli.columns import Column

    first, *others = table.header()
    tables.print_grid([Column(first), *map(Column.of_numbers, others)], table.cells())
    for note in table.notes():
        say(note)


def _text(table: SideBySide, form: str) -> str:
    if form == "table":
        columns = list(zip(table.header(), *table.cells(), strict=True))
        widths = [max(map(len, column)) for column in columns]
        lines = [table.header(), *table.cells()]
        rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*rows, *table.notes()]) + "\n"
    return {
        "markdown": table.to_markdown,
        "csv": table.to_csv,
        "json": table.to_json,
        "html": table.to_html,
    }[form]()
