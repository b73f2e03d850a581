"""Processes of this machine: whether one is still the one that left a file behind."""

from __future__ import annotations

import os
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # another one after each start of the machine (Linux)


def boot_id() -> str:
    """The identity of this start of the machine, after which process numbers repeat; "" on systems other than Linux."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """The kernel's ticks from the start of the machine to that of the process; "" if the process has ended.

    "alive" on systems without /proc.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[19]  # field 22 of proc(5): starttime
    except OSError:
        return "alive" if _is_alive(pid) else ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
