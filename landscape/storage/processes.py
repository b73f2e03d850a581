"""Processes of this machine: whether one is still the one that left a file behind."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# of the Windows API: an access right, an error and the exit code of a process that runs
QUERY_LIMITED_INFORMATION, ACCESS_DENIED, STILL_ACTIVE = 0x1000, 5, 259
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # another one after each start of the machine (Linux)


def boot_id() -> str:
    """The identity of this start of the machine, after which process numbers repeat; "" on systems other than Linux."""
    try:
        return BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """The kernel's ticks from the start of the machine to that of the process; "" if the process has ended.

    "alive" on systems without /proc.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[19]  # field 22 of proc(5): starttime
    except OSError:
        return "alive" if _is_alive(pid) else ""


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # where signal 0 is Ctrl-C
        return is_alive_on_windows(pid, ctypes.WinDLL("kernel32", use_last_error=True), ctypes.get_last_error)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def is_alive_on_windows(pid: int, kernel32: Any, last_error: Callable[[], int]) -> bool:
    """Whether a process runs, asked of the library kernel32: its handle can be opened, and it has no exit code yet.

    A process of another user refuses its handle, and runs.
    """
    handle = kernel32.OpenProcess(QUERY_LIMITED_INFORMATION, False, pid)
    if not handle:
        return last_error() == ACCESS_DENIED
    code = ctypes.c_ulong()
    known = kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel32.CloseHandle(handle)
    return not known or code.value == STILL_ACTIVE
