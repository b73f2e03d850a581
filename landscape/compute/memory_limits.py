"""The limits of memory that this process has beside the machine's: of the process itself (`ulimit`), and of cgroups."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from landscape.errors import OutOfMemory

if sys.platform != "win32":
    import resource

CGROUP = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
UNLIMITED = 1 << 62
# beside torch's own libraries: Python, NumPy, SciPy and HDF5 with what they allocate took 250 MB of address space
BESIDE_TORCH = 350 << 20
DATA_OF_LIBRARIES = 256 << 20  # bytes that all libraries allocate; 215 MB were measured


def free_in_process() -> int:
    """The bytes that the process may still allocate under its own limits, `ulimit -v` and `ulimit -d`."""
    return min(_free_under_limits())


def require_room_for_libraries() -> None:
    """Raises OutOfMemory where the limits of the process are too narrow for torch, which has not been imported yet.

    Its libraries would abort the process, without a message and with any exit code.
    """
    found = find_spec("torch") if "torch" not in sys.modules and free_in_process() < UNLIMITED else None
    if found is None:
        return
    folders = [Path(place) / "lib" for place in found.submodule_search_locations or ()]
    size = sum(file.stat().st_size for folder in folders for file in folder.glob("*.so*"))
    for free, needed, flag in zip(_free_under_limits(), (size + BESIDE_TORCH, DATA_OF_LIBRARIES), "vd", strict=True):
        if free < needed:
            raise OutOfMemory(
                "memory ran out before torch was loaded",
                why=f"this process may take {free / 1e6:,.0f} MB more; its libraries alone take {needed / 1e6:,.0f} MB",
                fix=f"a larger limit (ulimit -{flag})",
            )


def _free_under_limits() -> tuple[int, int]:
    """What the limit of the address space leaves, and what the limit of data leaves."""
    if sys.platform == "win32":
        return UNLIMITED, UNLIMITED
    try:
        sizes = (PROCESS / "statm").read_text(encoding="utf-8").split()  # in pages
    except OSError:  # outside Linux, where these limits have no effect
        return UNLIMITED, UNLIMITED
    page = resource.getpagesize()
    return _left(resource.RLIMIT_AS, int(sizes[0]) * page), _left(resource.RLIMIT_DATA, int(sizes[5]) * page)


def _left(limit: int, used: int) -> int:
    most: int = resource.getrlimit(limit)[0]
    return UNLIMITED if most == resource.RLIM_INFINITY else max(most - used, 0)


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
        lines = (PROCESS / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    own = next((line.partition(mark)[2] for line in lines if mark in line), "")
    inside = root / own.lstrip("/")
    return iter([folder for folder in (inside, *inside.parents) if folder.is_relative_to(root)])


def _room(folder: Path, limit: str, used: str, cache: str) -> Iterator[int]:
    """The limit less what is used, of which the kernel frees the cache of files when memory is short."""
    try:
        most, now = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
    except (OSError, ValueError):  # no such cgroup, or no limit ("max")
        return
    yield most - max(now - _statistic(folder / "memory.stat", cache), 0)


def _statistic(path: Path, name: str) -> int:
    """One of the numbers of a cgroup's statistics; 0 if it is not there."""
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return next((int(row[1]) for row in rows if row[0] == name), 0)
    except (OSError, ValueError, IndexError):
        return 0
