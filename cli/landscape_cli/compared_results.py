"""Stored results of several checkpoints beside each other, printed and written; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import typer

from landscape import figures
from landscape.errors import UsageError
from landscape.history import History
from landscape.side_by_side import SideBySide, caveats, compare, labels_of_files, labels_of_runs, read_beside
from landscape.storage import paths
from landscape.storage.atomic_files import replace_file
from landscape_cli import tables
from landscape_cli.columns import Column
from landscape_cli.compare import Format
from landscape_cli.labels import apply_labels
from landscape_cli.streams import say

SUFFIXES: dict[str, Format] = {".md": "markdown", ".csv": "csv", ".json": "json", ".html": "html", ".txt": "table"}
PICTURE = "picture"  # what a file holds whose name ends as one


def compare_files(
    files: Sequence[Path],
    *,
    metrics: Sequence[str] | None,
    every: bool,
    labels: Sequence[str],
    form: str | None,
    outputs: Sequence[Path],
) -> None:
    """Writes the table and a picture into files, and prints the table where no file holds it.

    Raises UsageError before anything is written.
    """
    stored = [read_beside(file) for file in files]
    named = _labels(files, labels, stored)
    table = compare(*stored, labels=named, metrics=metrics, every=every)
    printed = _require_format(form or "table")
    kinds = [(_kind_of(path, form), path) for path in outputs]
    for kind, path in sorted(kinds, key=lambda pair: pair[0] != PICTURE):  # first those that may find nothing to draw
        _write(table, stored, path, kind)
        say(f"wrote {path}")
    if all(kind == PICTURE for kind, _ in kinds):  # no file holds the numbers, and what must be said of them
        _print(table, printed)


def _labels(files: Sequence[Path], named: Sequence[str], stored: Sequence[Any]) -> list[str]:
    """The labels of all files; raises UsageError for a label of another file."""
    runs = any(isinstance(one, History) for one in stored)
    usual = labels_of_runs(stored, files) if runs else labels_of_files([one.file for one in stored])
    return apply_labels(files, usual, named)


def _kind_of(path: Path, form: str | None) -> str:
    """What is written into a file: a picture, or the table in the format that is named, or that its name ends in."""
    if path.suffix in paths.PICTURES:
        return PICTURE
    if form is None and path.suffix not in SUFFIXES:
        known = ", ".join([*SUFFIXES, *paths.PICTURES])
        raise UsageError(f"-o {path} says no format", fix=f"a name that ends in {known}, or --format")
    return _require_format(form or SUFFIXES[path.suffix])


def _require_format(form: str) -> Format:
    """The format; raises UsageError if there is none of that name."""
    if form not in get_args(Format):
        raise UsageError(f"--format is {form!r}", fix=f"one of {', '.join(get_args(Format))}")
    return form  # type: ignore[return-value]


def _write(table: SideBySide, stored: Sequence[Any], path: Path, kind: str) -> None:
    """Writes the table, or the picture of the results, into a file."""
    if kind != PICTURE:
        replace_file(path, _text(table, kind).encode())
        return
    if isinstance(stored[0], History):
        figures.save_histories(stored, path, labels=table.labels, caveats=table.reasons)
        return
    fingerprints = " ".join(one.fingerprint(name) for one in stored for name in one)
    figures.save_overlay(
        [one.records for one in stored],
        path,
        labels=table.labels,
        fingerprint=fingerprints,
        caveats=caveats(stored, table.labels, figures.OVERLAID),
    )


def _print(table: SideBySide, form: Format) -> None:
    if form != "table":
        typer.echo(_text(table, form), nl=False)
        return
    first, *others = table.header()
    tables.print_grid([Column(first), *map(Column.of_numbers, others)], table.cells())
    for sentence in table.meanings():
        tables.print_line(sentence)
    say(*table.notes())


def _text(table: SideBySide, form: str) -> str:
    """The table in a format; as plain text its columns are as wide as their longest cells."""
    if form == "table":
        return "\n".join([*tables.plain_columns([table.header(), *table.cells()]), *table.notes()]) + "\n"
    return {"markdown": table.to_markdown, "csv": table.to_csv, "json": table.to_json, "html": table.to_html}[form]()
