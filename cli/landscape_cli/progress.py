"""The progress of a measurement: a bar on a terminal, otherwise a line every half minute."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from landscape.analyses import Progress
from landscape.errors import clean

PLAIN_EVERY = 30.0  # seconds between lines in a log


@contextmanager
def reporter(title: str) -> Iterator[Callable[[Progress], None]]:
    """The function to call with each step's progress; it writes to stderr only."""
    if sys.stderr.isatty() and "CI" not in os.environ:
        with live_reporter(title) as report:
            yield report
    else:
        yield plain_reporter(title)


@contextmanager
def live_reporter(title: str) -> Iterator[Callable[[Progress], None]]:
    """A function that moves a bar on the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, TextColumn, TimeElapsedColumn  # isort: skip

    columns = (TextColumn(escape(clean(title))), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda step: bars.update(
            task, completed=step.done, total=step.total, description=escape(clean(step.note))
        )


def plain_reporter(title: str) -> Callable[[Progress], None]:
    """A function that prints a line to stderr if the last one is half a minute old."""
    last = time.monotonic()

    def report(step: Progress) -> None:
        """Prints the step unless a line was printed in the last half minute."""
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY:
            last = time.monotonic()
            with suppress(OSError):  # a reader who has closed stderr does not stop the work
                print(clean(f"{title}: {step.done}/{step.total}, {step.note}"), file=sys.stderr, flush=True)

    return report
