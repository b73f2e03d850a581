"""Changes of something shared by the whole process for the time of a block: of torch, or of the user's module.

Blocks may be nested, and may overlap in several threads: the first one that is entered makes the change, the last one
that is left undoes it. Other threads see the change meanwhile: a training step beside a measurement should use another
copy of the model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Undo = Callable[[], None]


class SharedPatch:
    """One change, and how many blocks rely on it; `apply` makes the change and returns the function that undoes it."""

    def __init__(self, apply: Callable[[], Undo]) -> None:
        self.apply = apply
        self._lock = threading.Lock()
        self._blocks = 0
        self._undo: Undo | None = None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """The change is in force within the block."""
        with self._lock:
            if self._blocks == 0:
                self._undo = self.apply()
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if self._blocks == 0 and self._undo is not None:
                    self._undo()
                    self._undo = None
