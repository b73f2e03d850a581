"""The progress of a measurement and the time that is left: a bar on a terminal, otherwise lines now and then.

A log has a line at the beginning, if the plan is long, one at the first step of every phase, and one every half minute.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from landscape.analyses import Analysis, Plan, Progress
from landscape.analyses.shared.work_budget import describe_seconds
from landscape.errors import LandscapeError, clean
from landscape_cli.remaining_time import RemainingTime
from landscape_cli.streams import say

if TYPE_CHECKING:
    from landscape.objective import Objective

PLAIN_EVERY = 30.0  # seconds between lines in a log
SHORT = 5.0  # seconds of a measurement that needs no lines in a log
BAR, NUMBERS = 20, 27  # characters of the bar, and of the steps and the time behind the title
WIDE, MEDIUM = 100, 60  # characters of a terminal that has room for a bar, and for what the measurement is doing


def forecast(analysis: Analysis, objective: Objective) -> Plan | None:
    """The plan of a measurement that is about to begin, which times one gradient; None if that is not worth it.

    That is so for measurements of a few passes, and where several processes would have to time it together.
    """
    if analysis.takes_few_passes or objective.ranks.size > 1 or objective.function.in_parts:
        return None
    try:
        return analysis.plan(objective)
    except LandscapeError:  # the measurement itself says why
        return None


@contextmanager
def reporter(title: str, planned: Plan | None = None) -> Iterator[Callable[[Progress], None]]:
    """The function to call with each step's progress; it writes to stderr only."""
    left = RemainingTime.of(planned, time.monotonic())
    if is_live():
        with live_reporter(title, left) as report:
            yield report
    else:
        yield plain_reporter(title, left)


def is_live() -> bool:
    """Whether stderr is a terminal that can move a bar; in CI it is a log, whatever it says of itself."""
    return (
        sys.stderr.isatty()
        and not os.environ.get("CI")
        and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    )


@contextmanager
def live_reporter(title: str, left: RemainingTime) -> Iterator[Callable[[Progress], None]]:
    """A function that moves a bar on the terminal, with as much beside it as there is room for."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, ProgressColumn, Task, TextColumn  # isort: skip
    from rich.table import Column
    from rich.text import Text

    class TimeLeft(ProgressColumn):
        """The time that is left, in words."""

        def render(self, task: Task) -> Text:
            """The text; nothing if the time is not known."""
            return Text(describe_left(left, time.monotonic()) if not task.finished else "")

    console = Console(stderr=True)
    whole, roomy = Column(no_wrap=True), console.width >= MEDIUM
    cut = Column(
        no_wrap=True, overflow="ellipsis", max_width=max(console.width // 3 if roomy else console.width - NUMBERS, 4)
    )
    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = [
        TextColumn("{task.fields[title]}", markup=False, table_column=cut),
        *([BarColumn(bar_width=BAR)] if console.width >= WIDE else []),
        MofNCompleteColumn(table_column=whole),
        *([TextColumn("{task.description}", markup=False, table_column=rest)] if roomy else []),
        TimeLeft(table_column=whole),
    ]
    with Bars(*columns, console=console, transient=True, expand=roomy) as bars:
        task = bars.add_task("", total=None, title=clean(title))

        def report(step: Progress) -> None:
            """Moves the bar to the step."""
            left.report(step, time.monotonic())
            bars.update(task, completed=step.done, total=step.total, description=clean(step.note))

        yield report


def plain_reporter(title: str, left: RemainingTime) -> Callable[[Progress], None]:
    """A function that prints lines to stderr: of the first step of a phase, and every half minute."""
    began = last = time.monotonic()
    is_long = (left.seconds(began) or 0.0) > SHORT
    announced = not is_long
    if is_long:
        say(f"{title}: {describe_left(left, began)}, by the plan")

    def report(step: Progress) -> None:
        """Prints the step if it is the first one of its phase, or if the last line is old."""
        nonlocal last, announced
        now = time.monotonic()
        announced &= not left.report(step, now)
        if (announced or not (is_long or now - began > SHORT)) and now - last < PLAIN_EVERY:
            return
        last, announced = now, True
        words = (f"{step.done:,}/{step.total:,}", step.note, describe_left(left, now))
        say(f"{title}: {', '.join(filter(None, words))}")

    return report


def describe_left(left: RemainingTime, now: float) -> str:
    """The time that is left in words; "" if it is not known, or over."""
    seconds = left.seconds(now)
    return f"{describe_seconds(max(seconds, 1.0))} left" if seconds else ""
