"""Inert values that stand for what a pickle would import, make or call. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from landscape.checkpoints.formats.tensor_refs import ArrayRef, OddTensor, TensorRef

SLOT = 16  # bytes that a value takes in its container
MAX_PLAIN_INT = 1 << 60  # whole numbers below it have hashes of their own
MAX_SEARCHED = 50_000  # values that are searched for a tensor; an object of more parts is taken to hold one


class RefusedGlobalError(Exception):
    """The pickle names a function that runs commands or code; the message is its full name."""


@dataclass(frozen=True, eq=False, slots=True)
class GlobalName:
    """A module's member that the pickle names: a word here, not an import."""

    full: str

    @property
    def kind(self) -> str:
        """What the name says, for messages."""
        return self.full


@dataclass(eq=False, slots=True)
class OpaqueValue:
    """A placeholder for an object that is not made: `kind` names its class or the function that would make it.

    `parts` are what the pickle gives it, in order: the arguments of the call, then items and states.
    """

    kind: str
    parts: list[Any] = field(default_factory=list)

    @property
    def state(self) -> Any:
        """The state that the pickle gives it last, or its arguments; None without any."""
        return self.parts[-1] if self.parts else None


@dataclass(eq=False, slots=True)
class HandedOver(OpaqueValue):
    """A mark, as a key of a dictionary that is an argument of an unknown call, which could change it."""


@dataclass(eq=False, slots=True)
class PendingArray(OpaqueValue):
    """A NumPy array before its state has come; `keys` are its places in the memo, where the array replaces it."""

    keys: list[int] = field(default_factory=list)


@dataclass(frozen=True, eq=False, slots=True)
class LongText:
    """Text or bytes that are left where they stand in the file: the offset in the pickle, and the size there.

    If `encoded`, the bytes are code points below 256, written as UTF-8.
    """

    begin: int
    size: int
    encoded: bool


def holds_tensors(value: Any) -> bool:
    """Whether there are tensors of torch in a value of a pickle, at any depth; placeholders are looked into."""
    searched = enumerate(_parts(value))
    return any(count > MAX_SEARCHED or is_tensor(part) for count, part in searched)


def is_tensor(value: Any) -> bool:
    """Whether a value of a pickle is a tensor of torch."""
    return isinstance(value, TensorRef | OddTensor) and not isinstance(value, ArrayRef)


def holds_objects(value: Any) -> bool:
    """Whether there are placeholders in a value of a pickle, at any depth."""
    return any(isinstance(part, OpaqueValue | GlobalName) for part in _parts(value))


def _parts(value: Any) -> Iterator[Any]:
    """The value and everything in it, each once."""
    seen, waiting = {id(value)}, [value]
    while waiting:
        part = waiting.pop()
        yield part
        for inner in _inner_values(part):
            if id(inner) not in seen:  # a file may hold one value in a thousand places
                seen.add(id(inner))
                waiting.append(inner)


def _inner_values(part: Any) -> Any:
    if isinstance(part, dict):
        return [*part, *part.values()]
    if isinstance(part, OpaqueValue):
        return part.parts
    return part if isinstance(part, list | tuple) else ()
