"""What a signal does to the program at once: it ends it with the signal's exit code, whatever runs at the moment."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

from landscape.errors import Interrupted

# Ctrl-C, the end that a system asks for, and Ctrl-Break, by which Windows asks for it
SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
IMPORT_MACHINERY = "<frozen importlib"  # the file name of Python's own code for imports
# where no measurement is under way, which says by itself what of it is kept
STOPPED = "stopped; nothing is kept but what was written before, and the same command begins again"
OWN_ERRORS = 2  # the descriptor of stderr


def interrupt(number: int, frame: FrameType | None, what: str = STOPPED) -> NoReturn:
    """Raises Interrupted; ends the process at once during an import.

    Code that imports libraries swallows exceptions, or turns them into others: a C extension that could not be
    initialized, a package that seems not to be there.
    """
    if is_importing(frame):
        os.write(OWN_ERRORS, f"error: {what}\n".encode())
        end(number, frame)
    raise Interrupted(number, what)


def end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler of signals
    """Ends the program at once."""
    os._exit(128 + number)


def is_importing(frame: FrameType | None) -> bool:
    """Whether the code of a frame runs because a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORT_MACHINERY):
            return True
        frame = frame.f_back
    return False


def end_on_signals(*, at_once: bool = False) -> None:
    """From now on SIGNALS interrupt the program, or end it at once, until another handler is set."""
    for number in SIGNALS:
        signal.signal(number, end if at_once else interrupt)


def interruption(error: BaseException) -> int | None:
    """The exit code, if the error was raised because of a signal, though a library may have wrapped it; else None."""
    seen: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and now not in seen:
        seen.append(now)
        if isinstance(now, Interrupted):
            return now.exit_code
        if isinstance(now, KeyboardInterrupt):
            return 128 + signal.SIGINT
        now = now.__cause__ or now.__context__
    return None
