"""Stdout and stderr of a command, whose readers may have gone."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from landscape.errors import LandscapeError, clean


def say(*lines: str) -> None:
    """Prints lines to stderr; they are never part of the answer, and a closed stderr does not stop the work."""
    with suppress(OSError):
        for line in lines:
            print(clean(line), file=sys.stderr, flush=True)


def say_error(error: LandscapeError | str, name: str = "") -> None:
    """Prints an error, each of its parts in a line of its own, with the name of what it is about, unless it has it."""
    first, *rest = str(error).splitlines() or [""]
    say(
        f"error: {name}: {first}" if name and name not in first else f"error: {first}",
        *(f"  {part.strip()}" for part in rest),
    )


def answer(line: str, *, end: str = "\n") -> None:
    """Prints a line of text to stdout, with nothing in it that commands a terminal."""
    print(clean(line), end=end)


def silence_stdout() -> None:
    """Sends what is still to be printed to the null device, after the reader has closed stdout.

    Python flushes stdout at exit, which would fail otherwise.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
