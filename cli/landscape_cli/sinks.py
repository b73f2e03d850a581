"""Where a gate's report goes: to stdout, into files, and to GitHub's page of the job."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from landscape.errors import OutputError, UsageError
from landscape_cli import reports, tables
from landscape_cli.reports import REPORT_FORMATS, Report
from landscape_cli.streams import say_error, silence_stdout

Sink = Callable[[Report], None]
WHOLE_STDOUT = ("json", "junit", "html")  # formats that must have stdout for themselves
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"  # the variable that names the page's file


def find_sinks(formats: Sequence[str]) -> list[Sink]:
    """A sink for each `FORMAT` or `FORMAT=FILE`, and text to stdout if nothing else goes there; raises UsageError."""
    requested = [tuple(word.partition("=")[::2]) for word in formats]
    if unknown := [name for name, _ in requested if name not in REPORT_FORMATS]:
        raise UsageError(f"--format {unknown[0]} is not known", fix=f"one of {', '.join(REPORT_FORMATS)}, or NAME=FILE")
    wanted = list(dict.fromkeys((name, file or _summary_file(name)) for name, file in requested))
    shown = [name for name, file in wanted if not file]
    if set(WHOLE_STDOUT) & set(shown) and len(shown) > 1:
        raise UsageError(f"{' and '.join(shown)} cannot share stdout", fix=f"--format {shown[0]}=FILE")
    if not shown:
        wanted.append(("text", ""))
    return [_file_sink(name, Path(file)) if file else _stdout_sink(name) for name, file in wanted]


def _summary_file(name: str) -> str:
    """The file of GitHub's page, for markdown; "" where there is none."""
    return os.environ.get(SUMMARY_VARIABLE, "") if name == "markdown" else ""


def _stdout_sink(name: str) -> Sink:
    def sink(report: Report) -> None:
        """Writes the report in this format."""
        for checkpoint, error in report.failures if name == "text" else ():
            say_error(error, checkpoint)
        try:
            if name == "text" and report.verdicts:
                tables.print_grid(reports.REPORT_COLUMNS, reports.report_rows(report))
            if words := REPORT_FORMATS[name](report):
                print(words, flush=True)
        except BrokenPipeError:  # the exit code is the verdict, whether or not anybody reads its reasons
            silence_stdout()

    return sink


def _table(report: Report) -> list[str]:
    """What a terminal shows above the sentences: errors, and the table of verdicts."""
    failures = [f"{checkpoint}: {error}" for checkpoint, error in report.failures]
    rows = tables.plain_columns([reports.HEADERS, *reports.report_rows(report)]) if report.verdicts else []
    return [*failures, *rows, ""]


def _open_at_once(file: str, flags: int) -> int:
    """Opens a file for writing; a pipe that nobody reads is an OSError, instead of waiting for its reader."""
    at_once = getattr(os, "O_NONBLOCK", 0)  # which Windows lacks; there set_blocking refuses files
    descriptor = os.open(file, flags | at_once, 0o666)
    if at_once:
        os.set_blocking(descriptor, True)
    return descriptor


def _file_sink(name: str, file: Path) -> Sink:
    def sink(report: Report) -> None:
        """Writes the report in this format."""
        try:
            mode = "a" if str(file) == _summary_file(name) else "w"
            with open(file, mode, encoding="utf-8", opener=_open_at_once) as target:
                target.write("\n".join([*(_table(report) if name == "text" else []), REPORT_FORMATS[name](report), ""]))
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {error.strerror}", fix=f"--format {name}=FILE") from error

    return sink
