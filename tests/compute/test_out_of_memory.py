"""Errors of memory: recognized whoever raised them, and told in words."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.compute.out_of_memory import explain_out_of_memory, in_words, is_out_of_memory, out_of_memory
from landscape.errors import Interrupted, OutOfMemory, TaskError, UsageError


class PanicException(BaseException):
    """As the one that Rust's libraries raise."""


def chained(outer: BaseException, inner: BaseException, *, explicit: bool) -> BaseException:
    """The outer error as it is after it was raised while the inner one was handled, or `from` it."""
    try:
        try:
            raise inner
        except BaseException:
            if explicit:
                raise outer from inner
            raise outer  # noqa: B904
    except BaseException as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("unable to mmap 4096 bytes from file <a.pt>: Cannot allocate memory (12)"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        RuntimeError("Resource temporarily unavailable"),
        ImportError("libscipy_openblas.so: failed to map segment from shared object"),
        SystemError("error return without exception set"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError("Unable to create dataset (unable to allocate chunk cache)"),
        RuntimeError("DataLoader worker: insufficient shared memory (shm)"),
        chained(TaskError("the model fails"), MemoryError(), explicit=True),
        chained(PanicException("a pointer is null"), MemoryError(), explicit=False),
        OutOfMemory("one sample alone does not fit"),
    ],
    ids=lambda error: f"{type(error).__name__} {str(error)[:30]}",
)
def test_memory_that_ran_out_is_recognized(error: BaseException) -> None:
    assert is_out_of_memory(error)
    said = str(out_of_memory(error, "while testing"))
    assert "memory" in said or "fit" in said
    assert out_of_memory(error, "").exit_code == 2


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.ENOSPC, "No space left on device"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        UsageError("--rtol is out of memory of mankind"),
        chained(UsageError("--k is 0"), MemoryError(), explicit=False),
        chained(KeyboardInterrupt(), MemoryError(), explicit=False),
        Interrupted(2, "stopped"),
    ],
    ids=["shapes", "disk", "a lock", "our own words", "after a way out", "ctrl-c", "stopped"],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_numpy_s_and_torch_s_own_errors_are_recognized() -> None:
    for allocate in (lambda: np.empty(1 << 58), lambda: torch.empty(1 << 60)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)


def test_the_error_says_what_was_done_what_the_library_said_and_the_remedy(tmp_path: Path) -> None:
    said = "DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
    message = f"[enforce fail at alloc_cpu.cpp:127] err == 0. {said}"
    wrapped = chained(TaskError("the metric fails"), RuntimeError(message + "\nand more"), explicit=True)
    with pytest.raises(OutOfMemory) as caught, explain_out_of_memory("while measuring eig", kept=tmp_path / "none"):
        raise wrapped
    assert caught.value.what == "memory ran out while measuring eig"
    assert caught.value.why == f"the metric fails; {said}"
    assert "--micro-batch" in caught.value.fix


def test_the_snapshot_that_is_kept_is_named(tmp_path: Path) -> None:
    snapshot = tmp_path / "a.eig.partial"
    snapshot.touch()
    with pytest.raises(OutOfMemory, match=r"is kept in .*a\.eig\.partial"), explain_out_of_memory("", kept=snapshot):
        raise MemoryError


def test_a_crash_is_told_in_words_as_memory_or_as_a_bug() -> None:
    assert in_words(MemoryError()).what == "memory ran out in this command"
    assert in_words(ZeroDivisionError("x")).what == "internal error: ZeroDivisionError: x"


def test_errors_of_other_kinds_pass_unchanged() -> None:
    with pytest.raises(ValueError, match="mine"), explain_out_of_memory("while testing"):
        raise ValueError("mine")
