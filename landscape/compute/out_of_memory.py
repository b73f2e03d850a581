"""Errors of memory: how they are recognized, whichever library raised them, and what they become. Without torch."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landscape.errors import LandscapeError, OutOfMemory, safe_excerpt, unexpected

# of messages; torch, CUDA's libraries, NumPy, HDF5, the C++ library and the loader of libraries have no common type
TEXTS = (
    "out of memory",  # CUDA, HIP, XPU and MPS
    "allocate memory",  # torch's DefaultCPUAllocator, "Cannot allocate memory" of the system, the loader's TLS block
    "not enough memory",  # torch on Windows
    "unable to mmap",  # torch, of a file
    "unable to allocate",  # NumPy and HDF5
    "memory allocation failed",  # HDF5
    "_status_alloc_failed",  # cuBLAS, cuDNN, cuSOLVER, cuSPARSE
    "bad_alloc",  # C++
    "bad allocation",  # C++ on Windows
    "failed to map segment",  # a library that is loaded
    "can't start new thread",  # Python: a thread's stack did not fit
    "resource temporarily unavailable",  # C++, of a thread
    "insufficient shared memory",  # the workers of torch's DataLoader
    "error return without exception set",  # Python, of torch's C++ code; seen under limits of memory only
)
ENFORCED = re.compile(r"^\[enforce fail at [^]]*\]\s*(err == 0\.\s*)?")  # before the message of torch's allocator
MEASURING_REMEDY = "a smaller --micro-batch, fewer parameters (--params), or fewer samples (--limit)"
ENDS_OF_PROGRAMS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, by the error itself or by the one that caused it."""
    return memory_error(error) is not None


def memory_error(error: BaseException) -> BaseException | None:
    """The error, or the one behind it, that says that memory ran out; None if none does.

    An error of landscape's own counts only by the cause that it names: it may follow a failure that was overcome.
    """
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        if isinstance(now, OutOfMemory) or (not isinstance(now, LandscapeError) and _says_so(now)):
            return now
        hidden = isinstance(now, (LandscapeError, *ENDS_OF_PROGRAMS)) or now.__suppress_context__
        now = now.__cause__ or (None if hidden else now.__context__)
    return None


def in_words(error: BaseException) -> LandscapeError:
    """The error for the user after a crash: of memory that ran out, or of a bug."""
    return out_of_memory(error, "in this command") if is_out_of_memory(error) else unexpected(error)


def out_of_memory(error: BaseException, doing: str, fix: str = MEASURING_REMEDY) -> OutOfMemory:
    """The error for the user after an error of memory: what was done, what the library said, and the remedy."""
    found = memory_error(error)
    if isinstance(found, OutOfMemory):
        return found
    why = [error.what] if isinstance(error, LandscapeError) else []
    lines = str(found).splitlines()
    said = ENFORCED.sub("", lines[0]) if lines else type(found).__name__
    return OutOfMemory(f"memory ran out {doing}", why="; ".join([*why, safe_excerpt(said, 200)]), fix=fix)


@contextmanager
def explain_out_of_memory(doing: str, *, kept: Path | None = None) -> Iterator[None]:
    """Raises OutOfMemory, which says what was done, where the block fails for want of memory.

    `kept` is the snapshot from which the measurement goes on, if there is such a file by then.
    """
    try:
        yield
    except BaseException as error:  # some libraries panic, which is no Exception
        if not is_out_of_memory(error):
            raise
        found = out_of_memory(error, doing)
        if kept is None or not kept.exists():
            raise found from error
        raise OutOfMemory(
            f"{found.what}; the work until the last snapshot is kept in {kept}",
            why=found.why,
            fix=f"{found.fix}; a smaller --micro-batch goes on from the snapshot",
        ) from error


def _says_so(error: BaseException) -> bool:
    """Whether this error, without its causes, is one of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return True
    if isinstance(error, OSError) and error.errno is not None:  # h5py's has none
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return any(words in text for words in TEXTS)
