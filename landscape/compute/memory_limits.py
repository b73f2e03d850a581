"""The limits of memory that this process has beside the machine's: of the process itself (`ulimit`), and of cgroups."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import resource

CGROUP = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
UNLIMITED = 1 << 62


def free_in_process() -> int:
    """The bytes that the process may still allocate under its own limits, `ulimit -v` and `ulimit -d`."""
    if sys.platform == "win32":
        return UNLIMITED
    try:
        sizes = (PROCESS / "statm").read_text().split()  # in pages
    except OSError:  # outside Linux, where these limits have no effect
        return UNLIMITED
    page = resource.getpagesize()
    used = {resource.RLIMIT_AS: int(sizes[0]) * page, resource.RLIMIT_DATA: int(sizes[5]) * page}
    limits = {limit: resource.getrlimit(limit)[0] for limit in used}
    free = [limits[limit] - used[limit] for limit in used if limits[limit] != resource.RLIM_INFINITY]
    return max(min(free, default=UNLIMITED), 0)


def free_in_cgroup() -> int:
    """The bytes that are left of the tightest limit of the process' cgroup and of those around it."""
    return max(min(_rooms_of_cgroups(), default=UNLIMITED), 0)


def _rooms_of_cgroups() -> Iterator[int]:
    """What each cgroup leaves free, of version 2 and version 1; nothing for cgroups without a limit."""
    for folder in _folders(CGROUP, "0::"):
        yield from _room(folder, "memory.max", "memory.current", "inactive_file")
    for folder in _folders(CGROUP / "memory", ":memory:"):
        yield from _room(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _folders(root: Path, mark: str) -> Iterator[Path]:
    """The folder of the process' cgroup and those around it, up to the root, which is all that a container shows."""
    try:
        lines = (PROCESS / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    own = next((line.partition(mark)[2] for line in lines if mark in line), "")
    inside = root / own.lstrip("/")
    return iter([folder for folder in (inside, *inside.parents) if folder.is_relative_to(root)])


def _room(folder: Path, limit: str, used: str, cache: str) -> Iterator[int]:
    """The limit less what is used, of which the kernel frees the cache of files when memory is short."""
    try:
        most, now = int((folder / limit).read_text()), int((folder / used).read_text())
    except (OSError, ValueError):  # no such cgroup, or no limit ("max")
        return
    yield most - max(now - _statistic(folder / "memory.stat", cache), 0)


def _statistic(path: Path, name: str) -> int:
    """One of the numbers of a cgroup's statistics; 0 if it is not there."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
        return next((int(row[1]) for row in rows if row[0] == name), 0)
    except (OSError, ValueError, IndexError):
        return 0
