"""Writes the page of stored results; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from landscape.errors import EXIT_FAILURE, UsageError
from landscape.report.report import library_script, report_page
from landscape.report.sources import read_sources
from landscape.storage.atomic_files import replace_file
from landscape_cli.streams import say, say_error

PAGES = (".html", ".htm")  # endings of pages
EXTRA = (
    "the pictures are static; values on hover and surfaces that rotate: pip install 'loss-landscape-geometry[report]'"
)


def report_results(files: Sequence[Path], output: Path, *, static: bool) -> int:
    """The exit code: 0, or 2 if a file could not be read; the page of the others is written all the same.

    Raises UsageError before anything is read if the output is no page, and the first error if nothing can be read.
    """
    if output.suffix not in PAGES:
        raise UsageError(f"-o {output} is no page", fix=f"a name that ends in {' or '.join(PAGES)}")
    sources = read_sources(files)
    library = None if static else library_script()
    if library is None and not static:
        say(EXTRA)
    page = report_page(sources, library=library).encode()
    replace_file(output, page)
    for one in sources.unread:
        say_error(one.reason, one.file)
    say(f"wrote {output} ({len(page) / 1e6:.1f} MB)")
    return EXIT_FAILURE if sources.unread else 0
