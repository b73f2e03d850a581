"""Stdout and stderr of a command, whose readers may have gone."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from landscape.errors import clean


def say(line: str) -> None:
    """Prints a line to stderr; it is never part of the answer, and a closed stderr does not stop the work."""
    with suppress(OSError):
        print(clean(line), file=sys.stderr, flush=True)


def silence_stdout() -> None:
    """Sends what is still to be printed to the null device, after the reader has closed stdout.

    Python flushes stdout at exit, which would fail otherwise.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
