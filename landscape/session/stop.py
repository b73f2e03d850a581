"""SIGINT and SIGTERM: the first one lets the current step finish and saves the work."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any

from landscape.compute.interrupts import SIGNALS, interrupt


@dataclass
class StopSignals:
    """Receives SIGINT and SIGTERM while its block runs.

    During a measurement (`deferring`) the first signal is kept in `requested`, and the session stops after the current
    step. Outside a measurement, or the second time, a signal interrupts at once.
    """

    requested: int = 0
    deferring: bool = False
    _earlier: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> StopSignals:
        for number in SIGNALS:
            self._earlier[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    @contextmanager
    def defer(self) -> Iterator[None]:
        """While this block runs, the first signal waits for the current step."""
        self.deferring = True
        try:
            yield
        finally:
            self.deferring = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        earlier, self.requested = self.requested, number  # kept, in case that code of others swallows the exception
        if not self.deferring:
            interrupt(number, frame)
        if earlier:
            interrupt(number, frame, "stopped; nothing was saved since the last snapshot")
        with suppress(OSError):
            print("stopping after the current step; once more to stop at once", file=sys.stderr)
