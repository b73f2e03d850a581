"""Reads results files in a process of its own, with little time and memory: damage cannot keep, crash or fill this one.

libhdf5 loops for ever, crashes or takes all memory on some damaged files, and no signal reaches it there.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from landscape.errors import OutputError
from landscape.storage.bounded import special_file

SECONDS = 0.5  # of computing for the smallest file, which takes some hundredths of a second
STRUCTURE, MOST_STRUCTURE = 2e5, 3.0  # bytes per second of many small data sets, whose copying takes the time; seconds
BYTES_PER_SECOND = 2e7  # of a large file; inflating is faster
MEMORY = 1 << 28  # bytes for a small file
MEMORY_PER_BYTE = 16  # of a large file: measured surfaces shrink to a third and less
MAX_WAIT = None if hasattr(signal, "setitimer") else 30  # seconds, where the process cannot limit its computing itself
BLOCK = 512  # bytes of `st_blocks`
MAX_KEPT = 4  # outputs kept: a measurement reads its results file several times
PROGRAM = (
    "import json, sys; from importlib import import_module; sys.path[:] = json.loads(sys.argv[1]); "
    "from landscape.storage.isolation import work; "
    "work(getattr(import_module(sys.argv[2]), sys.argv[3]), sys.argv[4], sys.stdout.buffer)"
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # NumPy is imported faster, and nothing is computed
REMEDY = "measure again"
SUCCESS, FAILURE = b"+", b"-"  # the first byte of what the process writes

Read = Callable[[Path], bytes]  # a function of a module, which the process can import
Stamp = tuple[int, int, int, int, int]
_outputs: dict[tuple[Stamp, Read], bytes | OutputError] = {}  # they save second processes, and decide nothing
_written: set[Stamp] = set()


def run_isolated(read: Read, file: Path) -> bytes:
    """What `read(file)` returns in another process; it is kept for as long as the file does not change.

    Raises OutputError if it fails there, does not end, or takes too much memory, and for files that are not regular.
    """
    require_regular(file)
    stamp = _stamp(file)
    output = _outputs.get((stamp, read)) if stamp else None
    if output is None:
        output = _output(read, file)
    if stamp:
        _outputs[stamp, read] = output
        while len(_outputs) > MAX_KEPT:
            del _outputs[next(iter(_outputs))]
    if isinstance(output, OutputError):
        raise output
    return output


def _output(read: Read, file: Path) -> bytes | OutputError:
    """What reading the file in another process gives: what `read` returns, or the error."""
    try:
        written, code = _by_fork(read, file) if _is_simple() else _by_spawn(read, file)
    except OSError as error:
        raise OutputError(
            f"{file} is not read: the process to read it in cannot be started: {error.strerror}",
            fix="free memory, or allow more processes",
        ) from error
    if code or written[:1] not in (SUCCESS, FAILURE):
        killed = code in (-getattr(signal, "SIGPROF", 0), -getattr(signal, "SIGKILL", 0))
        reason = "reading it does not end" if killed else "the HDF5 library crashes on it"
        return OutputError(f"{file} is damaged: {reason}", fix=REMEDY)
    if written[:1] == SUCCESS:
        return written[1:]
    parts = json.loads(written[1:])
    return OutputError(parts["what"], why=parts["why"], fix=parts["fix"])


def require_regular(file: Path) -> None:
    """Raises OutputError for a pipe, a device, a socket or a directory; a file that is missing is none of them."""
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError):
        return  # who opens it raises the error
    if not stat.S_ISREG(mode):
        raise OutputError(f"{file} is {special_file(mode)}, not a results file", fix="name a .landscape.h5 file")


def remember_written(file: Path) -> None:
    """Keeps in mind that this process wrote the file as it is now."""
    if stamp := _stamp(file):
        _written.add(stamp)


def is_written_here(file: Path) -> bool:
    """Whether this process wrote the file, and nobody has changed it since."""
    return _stamp(file) in _written


def work(read: Read, file: str, output: BinaryIO) -> None:
    """Reads the file within limits, and writes what that gives, or the error: what the other process does."""
    try:
        _limit_time_and_memory(Path(file))
        answer = SUCCESS + read(Path(file))
    except OutputError as error:
        answer = _failure(error.what, error.why, error.fix)
    except MemoryError:
        answer = _failure(f"{file} is damaged: it asks for more memory than its size is worth")
    except Exception as error:  # the library and h5py may raise anything on damaged files
        answer = _failure(f"{file} is damaged: {error}")
    output.write(answer)
    output.flush()


def _failure(what: str, why: str = "", fix: str = REMEDY) -> bytes:
    return FAILURE + json.dumps({"what": what, "why": why, "fix": fix}).encode()


def _stamp(file: Path) -> Stamp | None:
    """What changes whenever a file changes; None if there is none."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_simple() -> bool:
    """Whether a copy of this process can go on alone: no thread of Python or torch may hold a lock in it."""
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


def _by_fork(read: Read, file: Path) -> tuple[bytes, int]:
    """What a copy of this process writes, and its exit code: ten times as fast as a new one."""
    source, sink = os.pipe()
    with warnings.catch_warnings():  # of the threads of NumPy's BLAS, which the copy does not use
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.setsid()  # Ctrl-C is for the first process alone
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            with os.fdopen(sink, "wb") as output:
                work(read, str(file), output)
        finally:
            os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as pipe:
        written = pipe.read()
    return written, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _by_spawn(read: Read, file: Path) -> tuple[bytes, int]:
    """What a new Python process writes, and its exit code."""
    folders = json.dumps([folder for folder in sys.path if isinstance(folder, str)])
    command = [sys.executable, "-I", "-c", PROGRAM, folders, read.__module__, read.__name__, str(file)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, **ONE_THREAD}, start_new_session=True,
    )  # fmt: skip
    try:
        written, _ = process.communicate(timeout=MAX_WAIT)
    except subprocess.TimeoutExpired:
        process.kill()
        written, _ = process.communicate()
    finally:
        process.kill()
    return written, process.returncode


def _bytes_on_disk(file: Path) -> int:
    """The size of a file, or what is there of a sparse one; 0 if there is none."""
    try:
        status = file.stat()
    except OSError:
        return 0
    return min(status.st_size, BLOCK * getattr(status, "st_blocks", status.st_size))


def _limit_time_and_memory(file: Path) -> None:
    """Has this process killed when it computes for too long, and refused memory beyond what the file may take."""
    size = _bytes_on_disk(file)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which kills inside the library too
        structure = min(size / STRUCTURE, MOST_STRUCTURE)
        signal.setitimer(signal.ITIMER_PROF, SECONDS + structure + size / BYTES_PER_SECOND)
    if sys.platform == "linux":
        import resource  # which Windows lacks

        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limit = pages * resource.getpagesize() + MEMORY + MEMORY_PER_BYTE * size
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if most < 0 else min(limit, most), most))
