"""Where a gate's report goes: to stdout, into files, and to GitHub's page of the job."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from landscape.errors import OutputError, UsageError
from landscape_cli import reports, tables
from landscape_cli.measure import say
from landscape_cli.output import discard
from landscape_cli.reports import FORMATS, Report

Sink = Callable[[Report], None]
DOCUMENTS = ("json", "junit")  # formats that must have stdout for themselves
SUMMARY = "GITHUB_STEP_SUMMARY"  # the variable that names the page's file


def sinks(formats: Sequence[str]) -> list[Sink]:
    """One for each `FORMAT` or `FORMAT=FILE`; as text to stdout if nothing else goes there. Raises UsageError."""
    asked = [tuple(word.partition("=")[::2]) for word in formats]
    if unknown := [name for name, _ in asked if name not in FORMATS]:
        raise UsageError(f"--format {unknown[0]} is not known", fix=f"one of {', '.join(FORMATS)}, or NAME=FILE")
    wanted = list(dict.fromkeys((name, file or _page(name)) for name, file in asked))
    shown = [name for name, file in wanted if not file]
    if set(DOCUMENTS) & set(shown) and len(shown) > 1:
        raise UsageError(f"{' and '.join(shown)} cannot share stdout", fix=f"--format {shown[0]}=FILE")
    if not shown:
        wanted.append(("text", ""))
    return [_kept(name, Path(file)) if file else _shown(name) for name, file in wanted]


def _page(name: str) -> str:
    """The file of GitHub's page, for markdown; "" where there is none."""
    return os.environ.get(SUMMARY, "") if name == "markdown" else ""


def _shown(name: str) -> Sink:
    def sink(report: Report) -> None:
        for checkpoint, error in report.failures if name == "text" else ():
            say(f"error: {checkpoint}: {error}")
        try:
            if name == "text":
                tables.print_grid(reports.HEADERS, reports.rows(report))
            if words := FORMATS[name](report):
                print(words, flush=True)
        except BrokenPipeError:  # the verdict is the exit code, whether anybody reads its reasons or not
            discard()

    return sink


def _kept(name: str, file: Path) -> Sink:
    def sink(report: Report) -> None:
        try:
            with file.open("a" if str(file) == _page(name) else "w", encoding="utf-8") as target:
                target.write(FORMATS[name](report) + "\n")
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error.strerror}", fix=f"--format {name}=FILE") from error

    return sink
