"""One writer at a time: a lock file beside the output, signed with the process, the host and the host's boot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landscape.errors import OutputError
from landscape.storage import paths

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # another one after each start of the machine (Linux)


@contextmanager
def hold_lock(output: Path) -> Iterator[None]:
    """Holds the lock of a results file, so that no second process measures into it.

    The lock of a process of this host that has ended is taken over. Raises OutputError if another process holds the
    lock, or if the folder cannot be written.
    """
    lock = paths.lock_file(output)
    signature = json.dumps(_signature())
    if not _create(lock, signature):
        _remove_stale(lock, output)
        if not _create(lock, signature):  # another process was faster
            _remove_stale(lock, output)
    try:
        yield
    finally:
        if _content(lock) == signature:
            lock.unlink(missing_ok=True)


def _signature() -> dict[str, str | int]:
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "boot": _boot_id(), "started": _start_time(pid)}


def _create(lock: Path, content: str) -> bool:
    """Makes the lock with its content in one step; returns False if there is one already."""
    own = paths.own_lock_file(lock)
    try:
        own.write_text(content)
        os.link(own, lock)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(
            f"nothing can be written into {lock.parent}: {error.strerror}",
            fix="make that folder, or write elsewhere with -o FILE",
        ) from error
    finally:
        with suppress(OSError):
            own.unlink(missing_ok=True)
    return True


def _remove_stale(lock: Path, output: Path) -> None:
    """Removes the lock of a process that has ended; raises OutputError if the process may still run."""
    content = _content(lock)
    _require_stale(content, lock, output)
    stale = paths.stale_lock_file(lock)
    with suppress(FileNotFoundError):
        lock.rename(stale)  # of several processes that do this only one moves the lock whose content it has read
        if _content(stale) != content:
            stale.rename(lock)
            raise OutputError(f"{output} is being written by another process", fix="wait for it")
        stale.unlink()


def _content(lock: Path) -> str:
    try:
        return lock.read_text()
    except OSError:
        return ""


def _require_stale(content: str, lock: Path, output: Path) -> None:
    """Raises OutputError if the process that signed the lock may still run."""
    try:
        holder = json.loads(content)
        pid, host, started = int(holder["pid"]), holder["host"], holder["started"]
        boot = holder.get("boot", _boot_id())  # earlier versions did not sign with it
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # landscape signs its locks
    if host == platform.node() and (boot != _boot_id() or _start_time(pid) != started):
        return
    raise OutputError(
        f"{output} is being written by process {pid} on {host}",
        fix=f"wait for it; if it is gone, delete {lock}",
    )


def _boot_id() -> str:
    """The identity of this start of the machine, after which process numbers repeat; "" on systems other than Linux."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _start_time(pid: int) -> str:
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
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
