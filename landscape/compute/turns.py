"""Threads of one process take turns: what a measurement sets while it computes is set for the whole process.

These are the seeds of the global random generators, the default dtype, and torch's switches for kernels. While one
thread loads a checkpoint or makes a step of a measurement, others wait with theirs. Threads that use torch without
landscape are not kept from it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TURNS = [threading.RLock()]  # of this process; blocks of one thread may be nested


@contextmanager
def take_turn() -> Iterator[None]:
    """No other thread is in such a block within this one."""
    with _TURNS[0]:
        yield


def _begin_anew() -> None:
    """In a forked process: the thread that held the lock is not there."""
    _TURNS[0] = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_begin_anew)
