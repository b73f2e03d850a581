"""Reads a pickle as data: what it would import is a name, what it would call is recorded or refused, never called.

`torch.load(weights_only=True)` calls `bytearray`, `torch.Tensor` and storage types with whatever arguments the file
has: a file of 1.4 kB made it take 2.9 GB and eight seconds (torch 2.13). Here nothing from the file is ever called.
"""

from __future__ import annotations

import os
import pickletools
import struct
from dataclasses import dataclass
from typing import Any, Protocol

from landscape.checkpoints.formats.pickle_machine import STEPS, PickleMachine
from landscape.checkpoints.formats.pickle_values import LongText
from landscape.checkpoints.formats.tensor_refs import DamageError, Storage
from landscape.errors import safe_excerpt

MAX_DESCRIPTION = 1 << 26  # bytes of a description; that of a hundred thousand tensors has 25 MB
MAX_VALUE = 1 << 20  # bytes of one value in it; longer ones are left in the file


class Stream(Protocol):
    """The source of a pickle; it must not give more bytes than it has, whatever size is asked for."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...
    def seek(self, offset: int, whence: Any = 0, /) -> object: ...


class _Skipped(bytes):
    """Empty bytes that have the length of what was passed over in the file."""

    size = 0

    def __len__(self) -> int:
        return self.size


class _BoundedStream:
    """A stream that gives no more than `MAX_DESCRIPTION` bytes in all, and passes over long values.

    `skipped` is the offset and the size of the value that was passed over last; it is taken by `interpret_pickle`.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream, self.left = stream, MAX_DESCRIPTION
        self.skipped: tuple[int, int] | None = None

    def read(self, size: int) -> bytes:
        return self._skip(size) if size > MAX_VALUE else self._count(self.stream.read(size))

    def readline(self) -> bytes:
        return self._count(self.stream.readline())

    def _skip(self, size: int) -> bytes:
        """Passes over a value; raises DamageError if the stream ends before it does."""
        begin = self.stream.tell()
        self.stream.seek(0, os.SEEK_END)
        if size > self.stream.tell() - begin:
            raise DamageError(f"a single value of {size:,} bytes, more than there are")
        self.stream.seek(begin + size)
        self.skipped = begin, size
        passed = _Skipped()
        passed.size = size
        return passed

    def _count(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0 or len(content) > MAX_VALUE:
            raise DamageError(f"a description of more than {MAX_DESCRIPTION:,} bytes")
        return content


@dataclass(frozen=True)
class Pickle:
    """What a pickle describes, the kinds of bystanders in it, and by key its storages and the bytes of its arrays."""

    tree: Any
    bystanders: tuple[str, ...]
    storages: dict[str, Storage]
    arrays: dict[str, bytes | LongText]


def interpret_pickle(stream: Stream, allowance: int) -> Pickle:
    """The value that a pickle describes, with tensors as `TensorRef`, read up to its end.

    `allowance` is the most bytes that the description may take in memory. Raises RefusedGlobalError for a name that is
    no data, and DamageError for bytes that are no pickle.
    """
    machine, bounded = PickleMachine(allowance), _BoundedStream(stream)
    try:
        for opcode, argument, _ in pickletools.genops(bounded):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                bystanders = tuple(sorted(machine.bystanders))
                return Pickle(machine.stack.pop(), bystanders, machine.storages, machine.arrays)
            if bounded.skipped:
                argument, bounded.skipped = LongText(*bounded.skipped, "UNICODE" in opcode.name), None
            STEPS[opcode.name](machine, argument)
    except RecursionError as error:
        raise DamageError("calls in calls, too deep to be a checkpoint's") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, EOFError, struct.error) as error:
        raise DamageError(
            f"not a pickle that can be followed: {type(error).__name__}: {safe_excerpt(error)}"
        ) from error
    raise DamageError("the pickle has no end")
