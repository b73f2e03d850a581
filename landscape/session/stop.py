"""SIGINT and SIGTERM: the first one lets the current step finish and saves the work."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any

from landscape.errors import Interrupted


@dataclass
class StopSignals:
    """Receives SIGINT and SIGTERM while its block runs.

    During a measurement (`deferring`) the first signal is kept in `requested`, and the session stops after the current
    step. Outside a measurement, or the second time, a signal raises Interrupted at once.
    """

    requested: int = 0
    deferring: bool = False
    _earlier: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
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
        if not self.deferring or self.requested:
            raise Interrupted(number, "stopped; nothing was saved since the last snapshot")
        self.requested = number
        print("stopping after the current product; once more to stop at once", file=sys.stderr)
