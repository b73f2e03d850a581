"""Where results go and how the command behaves."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from landscape.fields import Options, option


@dataclass(frozen=True)
class Writing(Options):
    """What every command that measures shares."""

    output: str | None = option(
        None,
        help="Results file, or a folder for several; default <checkpoint's stem>.landscape.h5 beside it.",
        short="o",
    )
    json: bool = option(False, help="Print one JSON document instead of a table.")
    restart: bool = option(False, help="Discard an interrupted run instead of going on with it.")
    dry_run: bool = option(False, help="Print what would be done, its memory and its time, and stop.", typed=True)


def discard() -> None:
    """Sends what is still to be printed nowhere: whoever read it has gone, and nothing may fail at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass(frozen=True)
class Output(Writing):
    """Where an analysis' results go, and whether they are drawn."""

    plot: bool = option(True, help="Draw <stem>.<command>.png.")
