"""How far a measurement is: a live line on a terminal, otherwise a plain line every half minute."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from landscape.analyses import Progress

PLAIN_EVERY = 30.0  # seconds between lines in a log


@contextmanager
def reporter(title: str) -> Iterator[Callable[[Progress], None]]:
    """A function to be called with each step's progress; writes to stderr only."""
    if sys.stderr.isatty() and "CI" not in os.environ:
        with _live(title) as report:
            yield report
    else:
        yield _plain(title)


@contextmanager
def _live(title: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, TextColumn, TimeElapsedColumn  # isort: skip

    columns = (TextColumn(escape(title)), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda step: bars.update(task, completed=step.done, total=step.total, description=escape(step.note))


def _plain(title: str) -> Callable[[Progress], None]:
    last = time.monotonic()

    def report(step: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY:
            last = time.monotonic()
            with suppress(OSError):  # one who has gone does not stop the work
                print(f"{title}: {step.done}/{step.total}, {step.note}", file=sys.stderr, flush=True)

    return report
