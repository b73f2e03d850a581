"""The function that a session calls after each step of a measurement."""

from __future__ import annotations

from collections.abc import Callable

from landscape.analyses.base import Progress

ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The callback that does nothing."""
