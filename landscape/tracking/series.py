"""Whether checkpoints are one run: names that differ in more than their numbers are of several runs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from landscape.errors import UsageError, listing
from landscape.tracking.steps import VERSION, WORDS, step_in_name

COUNTED = re.compile(rf"(?<![a-z])({'|'.join(WORDS)})([-_=.]?)\d+", re.IGNORECASE)  # a step, or a part of one
COUNTED_WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(WORDS)})(?![a-z])", re.IGNORECASE)
NAMED_SERIES = 4  # in a message


def series_of(name: str) -> str:
    """The name of a checkpoint, a path with `/`, with a star in the place of what counts steps.

    Behind the last word that counts, or if there is none, all numbers of the file's own name are left open.

    >>> series_of("seed1_ep0010.pt"), series_of("epoch=3-step=1200.ckpt"), series_of("run2/net.2000.pt")
    ('seed1_ep*.pt', 'epoch=*-step=*.ckpt', 'run2/net.*.pt')
    """
    folder, slash, file = name.rpartition("/")
    stem, dot, ending = file.rpartition(".")
    stem = VERSION.sub("", stem if dot else ending)
    if found := list(COUNTED.finditer(stem)):
        end = found[-1].end()
        stem = COUNTED.sub(r"\1\2*", stem[:end]) + _open_numbers(stem[end:])
    else:
        stem = _open_numbers(stem)
    return COUNTED.sub(r"\1\2*", folder) + slash + stem + (dot + ending if dot else "")


def check_one_run(names: Iterable[str], *, refuse: bool) -> str:
    """A sentence if the names look like those of several runs, else "".

    With `refuse` it raises UsageError for several series of names that share a step. A name that is alone, such as
    `best_epoch_3.pt` beside `epoch_1.pt` to `epoch_9.pt`, is no run.
    """
    series: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if (step := step_in_name(PurePosixPath(name))) is not None:
            series[series_of(name)].add(step)
    runs = [one for one, steps in series.items() if len(steps) > 1] or list(series)
    several = listing(runs, NAMED_SERIES)
    if refuse and (shared := _shared_step([series[one] for one in runs])) is not None:
        raise UsageError(
            f"the checkpoints are of {len(runs)} runs: {several} (step {shared} is in several of them)",
            why="in one history the runs would alternate",
            fix=f"a call for each run: landscape track '{runs[0]}' -o {_label(runs[0])}.landscape.h5 and so on; or "
            "--step-from name, for one history of all",
        )
    if len(series) > 1 and len(series) < sum(map(len, series.values())):
        return f"one history of {len(series)} kinds of names: {listing(series, NAMED_SERIES)}"
    return ""


def _shared_step(runs: list[set[int]]) -> int | None:
    """The first step that several runs have; None if there is none."""
    seen: set[int] = set()
    for steps in runs:
        if both := seen & steps:
            return min(both)
        seen |= steps
    return None


def _open_numbers(text: str) -> str:
    return re.sub(r"\d+", "*", text)


def _label(series: str) -> str:
    """A name for the history of a series: its letters."""
    words = re.sub(r"\.\w+$", "", series.replace("*", ""))
    return COUNTED_WORD.sub("", words).strip("-_=./").replace("/", "-") or "run"
