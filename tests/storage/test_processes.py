"""Whether a process is alive: on this system, and on Windows by its library's answers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import pytest

from landscape.storage import processes


def test_this_process_is_alive_and_one_that_has_ended_is_not() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert processes.start_time(os.getpid())
    assert processes.start_time(ended.pid) != processes.start_time(os.getpid())


class Kernel32:
    """What kernel32 answers of one process."""

    def __init__(self, handle: int, known: bool = True, code: int = 0) -> None:
        self.handle, self.known, self.code = handle, known, code
        self.closed = 0

    def OpenProcess(self, access: int, inherit: bool, pid: int) -> int:  # noqa: N802 - the library's name
        assert (access, inherit, pid) == (0x1000, False, 42)
        return self.handle

    def GetExitCodeProcess(self, handle: int, code: Any) -> bool:  # noqa: N802
        assert handle == self.handle
        ctypes.cast(code, ctypes.POINTER(ctypes.c_ulong))[0] = self.code
        return self.known

    def CloseHandle(self, handle: int) -> None:  # noqa: N802
        assert handle == self.handle
        self.closed += 1


@pytest.mark.parametrize(
    ("kernel32", "error", "alive"),
    [
        (Kernel32(7, code=259), 0, True),
        (Kernel32(7, code=1), 0, False),
        (Kernel32(7, known=False), 0, True),
        (Kernel32(0), 5, True),
        (Kernel32(0), 87, False),
    ],
    ids=["runs", "has ended", "cannot be asked", "of another user", "no such process"],
)
def test_windows_is_asked_for_the_exit_code(kernel32: Kernel32, error: int, alive: bool) -> None:
    assert processes.is_alive_on_windows(42, kernel32, lambda: error) is alive
    assert kernel32.closed == bool(kernel32.handle)
