"""One writer at a time: a lock file beside the output, signed with the process, the host and the host's boot."""

from __future__ import annotations

import json
import os
import platform
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landscape.errors import OutputError
from landscape.storage import paths
from landscape.storage.bounded import special_file
from landscape.storage.drafts import remove_stale_drafts
from landscape.storage.processes import boot_id, start_time
from landscape.storage.write_errors import writing_remedy

MAX_LOCK_BYTES = 4096  # of a signature, which has about a hundred and fifty


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
    remove_stale_drafts(lock.parent, paths.drafts_of_results(output))
    try:
        yield
    finally:
        if _content(lock) == signature:
            lock.unlink(missing_ok=True)


def _signature() -> dict[str, str | int]:
    pid = os.getpid()
    return {"pid": pid, "host": platform.node(), "boot": boot_id(), "started": start_time(pid)}


def _create(lock: Path, content: str) -> bool:
    """Makes the lock with its content in one step; returns False if there is one already."""
    own = paths.own_lock_file(lock)
    try:
        own.unlink(missing_ok=True)  # of a killed process that had this one's number
        own.write_text(content, encoding="utf-8")
        _link(own, lock)
    except FileExistsError:
        return False
    except (OSError, ValueError) as error:
        raise OutputError(
            f"nothing can be written into {lock.parent}: {getattr(error, 'strerror', error)}",
            fix=f"{writing_remedy(error, lock.parent)}, or write elsewhere with -o FILE",
        ) from error
    finally:
        with suppress(OSError, ValueError):
            own.unlink(missing_ok=True)
    return True


def _link(own: Path, lock: Path) -> None:
    """Gives the file `own` the name `lock` too; raises FileExistsError if there is one.

    Where the file system has no second names (exFAT, many shared folders), the lock is a new file of the same text.
    """
    try:
        os.link(own, lock)
    except FileExistsError:
        raise
    except OSError:
        with lock.open("x", encoding="utf-8") as file:
            file.write(own.read_text(encoding="utf-8"))


def _remove_stale(lock: Path, output: Path) -> None:
    """Removes the lock of a process that has ended; raises OutputError if the process may still run."""
    content = _content(lock)
    _require_stale(content, lock, output)
    stale = paths.stale_lock_file(lock)
    try:
        lock.replace(stale)  # of several processes that do this only one moves the lock whose content it has read
        if _content(stale) != content:
            stale.rename(lock)
            raise OutputError(f"{output} is being written by another process", fix="wait for it")
        stale.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(lock, f"cannot be removed: {error.strerror}") from error


def _content(lock: Path) -> str:
    """The text of a lock, "" without one; raises OutputError for a pipe, a device or a directory in its place."""
    try:
        mode = lock.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise _unusable(lock, f"is {special_file(mode)}, not the lock of a process")
        if stat.S_ISLNK(mode):  # landscape makes none, and opening it might wait for ever
            return ""
        with lock.open("rb") as file:
            return file.read(MAX_LOCK_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _unusable(lock: Path, why: str) -> OutputError:
    return OutputError(f"{lock} {why}", fix="delete it")


def _require_stale(content: str, lock: Path, output: Path) -> None:
    """Raises OutputError if the process that signed the lock may still run."""
    signature = _parse_signature(content)
    if signature is None:
        return  # landscape signs its locks
    pid, host, started, boot = signature
    if host == platform.node() and (boot != boot_id() or start_time(pid) != started):
        return
    raise OutputError(
        f"{output} is being written by process {pid} on {host}",
        fix=f"wait for it; if it is gone, delete {lock}",
    )


def _parse_signature(content: str) -> tuple[int, str, str, str] | None:
    """The process, the host, the start time and the boot in a lock; None if landscape did not sign it."""
    try:
        holder = json.loads(content)
        pid, host, started = holder["pid"], holder["host"], holder["started"]
        boot = holder.get("boot", boot_id())  # earlier versions did not sign with it
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    texts = all(isinstance(text, str) for text in (host, started, boot))
    return (pid, host, started, boot) if texts and type(pid) is int else None
