"""One writer at a time: a lock file beside the output, signed with process and host."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landscape.errors import OutputError
from landscape.storage import paths


@contextmanager
def hold_lock(output: Path) -> Iterator[None]:
    """Holds `<output>.lock` so that no second process measures into the same file.

    A lock left by a process of this host that is gone is taken over. Raises OutputError if another process holds it,
    or if the folder cannot be written.
    """
    lock = paths.lock_file(output)
    mine = json.dumps({"pid": os.getpid(), "host": platform.node(), "started": _started(os.getpid())})
    if not _taken(lock, mine):
        _discard_stale(lock, output)
        if not _taken(lock, mine):  # somebody else was faster
            _discard_stale(lock, output)
    try:
        yield
    finally:
        if _content(lock) == mine:
            lock.unlink(missing_ok=True)


def _taken(lock: Path, content: str) -> bool:
    """Makes the lock with its content in one step; False if there is one already."""
    temporary = paths.own_lock_file(lock)
    try:
        temporary.write_text(content)
        os.link(temporary, lock)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(
            f"nothing can be written into {lock.parent}: {error.strerror}",
            fix="make that folder, or write elsewhere with -o FILE",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def _discard_stale(lock: Path, output: Path) -> None:
    """Removes the lock of a process that is gone; raises OutputError if its process is not."""
    found = _content(lock)
    _require_stale(found, lock, output)
    aside = paths.stale_lock_file(lock)
    with suppress(FileNotFoundError):
        lock.rename(aside)  # of several processes that do this only one moves the lock that it has read
        if _content(aside) != found:
            aside.rename(lock)
            raise OutputError(f"{output} is being written by another process", fix="wait for it")
        aside.unlink()


def _content(lock: Path) -> str:
    try:
        return lock.read_text()
    except OSError:
        return ""


def _require_stale(content: str, lock: Path, output: Path) -> None:
    try:
        holder = json.loads(content)
        pid, host, started = int(holder["pid"]), holder["host"], holder["started"]
    except (ValueError, KeyError, TypeError):
        return  # not signed as ours are
    if host == platform.node() and _started(pid) != started:
        return
    raise OutputError(
        f"{output} is being written by process {pid} on {host}",
        fix=f"wait for it; if it is gone, delete {lock}",
    )


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks; "" if it is gone or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[19]  # field 22 of proc(5): starttime
    except OSError:
        return "" if not _alive(pid) else "alive"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
