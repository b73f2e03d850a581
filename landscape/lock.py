"""One writer at a time: a lock file beside the output, signed with process and host."""

from __future__ import annotations

import io
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landscape.errors import OutputError


@contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Holds `<output>.lock` so that no second process measures into the same file.

    A lock left by a process of this host that is gone is taken over. Raises OutputError if another process holds it,
    or if the folder cannot be written.
    """
    lock = output.with_name(f".{output.name}.lock")
    content = json.dumps({"pid": os.getpid(), "host": platform.node(), "started": _started(os.getpid())})
    try:
        _create_lock(lock, content)
    except FileExistsError:
        _require_stale(lock, output)
        lock.unlink(missing_ok=True)
        _create_lock(lock, content)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _create_lock(lock: Path, content: str) -> None:
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        raise
    except OSError as error:
        raise OutputError(
            f"nothing can be written into {lock.parent}: {error.strerror}", fix="write elsewhere with -o FILE"
        ) from error
    with io.FileIO(descriptor, "w") as file:
        file.write(content.encode())


def _require_stale(lock: Path, output: Path) -> None:
    try:
        holder = json.loads(lock.read_text())
        pid, host, started = int(holder["pid"]), holder["host"], holder["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # its writer died before it could sign
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
