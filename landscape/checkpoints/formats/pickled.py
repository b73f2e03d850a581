"""Reads a pickle as data: what it would import is a name, what it would call is recorded or refused, never called.

`torch.load(weights_only=True)` calls `bytearray`, `torch.Tensor` and storage types with whatever arguments the file
has: a file of 1.4 kB made it take 2.9 GB and eight seconds (torch 2.13). Here nothing from the file is ever called.
"""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass
from typing import Any, Protocol

from landscape.checkpoints.formats.pickle_machine import STEPS, PickleMachine
from landscape.checkpoints.formats.tensor_refs import DamageError, Storage
from landscape.errors import safe_excerpt

MAX_DESCRIPTION = 1 << 26  # bytes of a description; that of a hundred thousand tensors has 25 MB
MAX_VALUE = 1 << 23  # bytes of one value in it: decoded text may take four times as much


class Stream(Protocol):
    """The source of a pickle; it must not give more bytes than it has, whatever size is asked for."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


class _BoundedStream:
    """A stream that gives no more than `MAX_DESCRIPTION` bytes in all, and `MAX_VALUE` at once."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.left = stream, MAX_DESCRIPTION

    def read(self, size: int) -> bytes:
        if size > MAX_VALUE:
            raise DamageError(f"a single value of {size:,} bytes")
        return self._count(self.stream.read(size))

    def readline(self) -> bytes:
        return self._count(self.stream.readline())

    def _count(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0 or len(content) > MAX_VALUE:
            raise DamageError(f"a description of more than {MAX_DESCRIPTION:,} bytes")
        return content


@dataclass(frozen=True)
class Pickle:
    """What a pickle describes, the kinds of bystanders in it, and its storages by key."""

    tree: Any
    bystanders: tuple[str, ...]
    storages: dict[str, Storage]


def interpret_pickle(stream: Stream, allowance: int) -> Pickle:
    """The value that a pickle describes, with tensors as `TensorRef`, read up to its end.

    `allowance` is the most bytes that the description may take in memory. Raises RefusedGlobalError for a name that is
    no data, and DamageError for bytes that are no pickle.
    """
    machine = PickleMachine(allowance)
    try:
        for opcode, argument, _ in pickletools.genops(_BoundedStream(stream)):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return Pickle(machine.stack.pop(), tuple(sorted(machine.bystanders)), machine.storages)
            STEPS[opcode.name](machine, argument)
    except RecursionError as error:
        raise DamageError("calls in calls, too deep to be a checkpoint's") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, EOFError, struct.error) as error:
        raise DamageError(
            f"not a pickle that can be followed: {type(error).__name__}: {safe_excerpt(error)}"
        ) from error
    raise DamageError("the pickle has no end")
