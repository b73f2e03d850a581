"""Reads a pickle as data: what it would import is a name, what it would call is recorded or refused, never called.

`torch.load(weights_only=True)` calls `bytearray`, `torch.Tensor` and storage types with whatever arguments the file
has: a file of 1.4 kB made it take 2.9 GB and eight seconds (torch 2.13). Here nothing from the file is ever called.
"""

from __future__ import annotations

import pickletools
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from landscape.checkpoints.formats.allowed_globals import BYSTANDERS, CLASSES, DICTIONARIES, ODD_TENSORS, STORAGES
from landscape.checkpoints.formats.tensor_refs import (
    ITEMSIZE,
    MOST_DIMENSIONS,
    DamageError,
    OddTensor,
    Storage,
    TensorRef,
    are_counts,
    strided_ref,
)
from landscape.errors import safe_excerpt

LARGEST = 1 << 26  # bytes of a description; that of a hundred thousand tensors has 25 MB
LONGEST = 1 << 23  # bytes of one value in it: decoded text may take four times as much
LARGEST_KEY = 1 << 60  # whole numbers below it have hashes of their own
SLOT = 16  # bytes that a value takes in whatever holds it


class RefusedGlobalError(Exception):
    """The pickle names something that is no data; the message is its full name."""


@dataclass(frozen=True, eq=False, slots=True)
class GlobalName:
    """A module's member that the pickle names: a word here, not an import."""

    full: str


@dataclass(eq=False, slots=True)
class OpaqueValue:
    """A value of a known harmless kind, left unmade; `state` is what it would have been given."""

    kind: str
    state: Any = None


class Stream(Protocol):
    """What a pickle is read from; it must not give more than it has, whatever it is asked for."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


class _Bounded:
    """A stream that gives no more than `LARGEST` bytes in all, and `LONGEST` at once."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.left = stream, LARGEST

    def read(self, size: int) -> bytes:
        if size > LONGEST:
            raise DamageError(f"a single value of {size:,} bytes")
        return self._counted(self.stream.read(size))

    def readline(self) -> bytes:
        return self._counted(self.stream.readline())

    def _counted(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0 or len(content) > LONGEST:
            raise DamageError(f"a description of more than {LARGEST:,} bytes")
        return content


@dataclass(frozen=True)
class Pickle:
    """What a pickle describes, the kinds of bystanders in it, and its storages by key."""

    tree: Any
    bystanders: tuple[str, ...]
    storages: dict[str, Storage]


def interpret_pickle(stream: Stream, allowance: int) -> Pickle:
    """The value that a pickle describes, with tensors as `TensorRef`, read up to its end.

    `allowance` is the most bytes that the description may take in memory. Raises Refused for a name that is no data,
    and Damaged for bytes that are no pickle.
    """
    machine = _Machine(allowance)
    try:
        for opcode, argument, _ in pickletools.genops(_Bounded(stream)):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return Pickle(machine.stack.pop(), tuple(sorted(machine.bystanders)), machine.storages)
            STEPS[opcode.name](machine, argument)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, EOFError, struct.error) as error:
        raise DamageError(
            f"not a pickle that can be followed: {type(error).__name__}: {safe_excerpt(error)}"
        ) from error
    raise DamageError("the pickle has no end")


class _Machine:
    """The stack machine of pickle's opcodes (PEP 3154 and pickletools' documentation), on inert values."""

    def __init__(self, allowance: int) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.bystanders: set[str] = set()
        self.names: dict[str, GlobalName] = {}
        self.left = allowance

    def remember(self, place: int | None) -> None:
        if place is not None and not 0 <= place < LARGEST_KEY:
            raise ValueError("a place that no memory has")
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]
        self.charge(6 * SLOT)

    def recall(self, place: int) -> None:
        self.stack.append(self.memo[place])
        self.charge(SLOT)

    def name(self, full: str) -> None:
        if full not in self.names:
            self.names[full] = GlobalName(self.known(full))
            self.charge(8 * SLOT + len(full))
        self.push(self.names[full])

    def push(self, value: Any) -> None:
        self.stack.append(value)
        self.charge(sys.getsizeof(value) + SLOT)

    def charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DamageError("its description would take more memory than the file can be worth")

    def popped(self, count: int) -> list[Any]:
        taken = self.stack[-count:]
        if len(taken) < count:
            raise IndexError("the stack is empty")
        del self.stack[-count:]
        return taken

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []
        self.charge(4 * SLOT)

    def known(self, full: str) -> str:
        """The name, if it is one that stands for data; raises Refused otherwise."""
        full = full.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
        module, _, name = full.rpartition(".")
        storage = module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES
        dtype = module == "torch" and name in ITEMSIZE
        listed = full in RULES or full in BYSTANDERS or full in ODD_TENSORS
        if not (listed or storage or dtype or full.startswith(CLASSES)):
            raise RefusedGlobalError(safe_excerpt(full))
        return full

    def made(self, name: Any, arguments: Any) -> Any:
        """What `name(*arguments)` would be."""
        if not (isinstance(name, GlobalName) and isinstance(arguments, tuple)):
            raise TypeError("only names are called, with a tuple")
        if rule := RULES.get(name.full):
            return rule(self, *arguments)
        if kind := ODD_TENSORS.get(name.full):
            return OddTensor(kind)
        if (
            name.full not in BYSTANDERS
        ):  # a dtype, a storage type or a layer's class: harmless as long as it is only named
            raise RefusedGlobalError(safe_excerpt(name.full))
        self.bystanders.add(name.full)
        return OpaqueValue(name.full, arguments)

    def put(self, items: list[Any]) -> None:
        """Keys and values in turn into the dictionary on top; keys that are no plain words or numbers are opaque."""
        target = self.stack[-1]
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # numbers of one hash would make a dictionary of them quadratic; texts have hashes of this process alone
            plain = key is None or isinstance(key, str | bytes) or (type(key) is int and abs(key) < LARGEST_KEY)
            if isinstance(target, dict):
                target[key if plain else OpaqueValue("key")] = value
            elif not isinstance(target, OpaqueValue):
                raise TypeError("items for something that is no dictionary")
            self.charge(8 * SLOT)

    def push_dictionary(self, items: list[Any]) -> None:
        self.push({})
        self.put(items)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, OpaqueValue):
            raise TypeError("items for something that is no list")
        self.charge(SLOT * len(items))

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], OpaqueValue):
            self.stack[-1].state = state

    def persistent(self) -> Storage:
        kind, name, key, _, count, *view = self.stack.pop()
        if kind != "storage" or view not in ([], [None]) or not are_counts(count) or not isinstance(key, str):
            raise TypeError("an unknown kind of storage")
        storage = Storage(key, STORAGES[name.full.rpartition(".")[2]], count)
        first = self.storages.setdefault(key, storage)
        if (first.dtype, first.count) != (storage.dtype, storage.count):
            raise ValueError(f"storage {key} is described twice, differently")
        return first


def _tensor(_: _Machine, storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> TensorRef | OddTensor:
    dtype = getattr(storage, "dtype", "")
    if any(isinstance(part, dict) and (part.get("conj") or part.get("neg")) for part in rest[2:]):
        return OddTensor("conjugated or negated, not resolved")
    if len(rest) >= 3 and isinstance(
        rest[2], GlobalName
    ):  # the third form, for dtypes without a storage type of their own
        dtype = rest[2].full.removeprefix("torch.")
    return strided_ref(storage, dtype, offset, shape, stride)


def _dictionary(machine: _Machine, *arguments: Any) -> dict[Any, Any]:
    given = arguments[-1] if arguments and isinstance(arguments[-1], list | dict) else {}
    pairs = given.items() if isinstance(given, dict) else given
    machine.stack.append({})
    for key, value in pairs:
        machine.put([key, value])
    made: dict[Any, Any] = machine.stack.pop()
    return made


def _bytes(machine: _Machine, text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("only bytes are written as text")
    machine.charge(len(text))
    return str.encode(text, "latin1")


def _reconstructed(machine: _Machine, name: Any, *_: Any) -> Any:
    return machine.made(name, ())


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(DICTIONARIES, _dictionary),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": lambda machine, tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda machine, tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": lambda machine, function, kind, arguments, *_: machine.made(
        function, arguments
    ),
    "torch.Size": lambda machine, sizes=(): tuple(sizes[:MOST_DIMENSIONS]) if isinstance(sizes, tuple | list) else (),
    "_codecs.encode": _bytes,
    "builtins.bytes": lambda machine, content=b"": bytes(content) if isinstance(content, bytes) else b"",
    "copyreg._reconstructor": _reconstructed,
}
LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
    *("BINBYTES8", "BYTEARRAY8"),
)
STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(LITERALS, _Machine.push),
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: m.charge(4 * SLOT)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_SET": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "GLOBAL": lambda m, words: m.name(words.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(".".join(m.popped(2))),
    "MARK": lambda m, _: m.mark(),
    "POP": lambda m, _: m.popped(1),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.push(tuple(m.popped(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.popped(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.popped(3))),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "FROZENSET": lambda m, _: m.push(m.since_mark()),
    "DICT": lambda m, _: m.push_dictionary(m.since_mark()),
    "APPEND": lambda m, _: m.extend(m.popped(1)),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.put(m.popped(2)),
    "SETITEMS": lambda m, _: m.put(m.since_mark()),
    "BINPERSID": lambda m, _: m.push(m.persistent()),
    "INST": lambda m, words: m.known(f"an instance of {words}"),
    "REDUCE": lambda m, _: m.push(m.made(*m.popped(2))),
    "NEWOBJ": lambda m, _: m.push(m.made(*m.popped(2))),
    "NEWOBJ_EX": lambda m, _: m.push(m.made(*m.popped(3)[:2])),
    "BUILD": lambda m, _: m.build(),
}  # what each opcode does with its argument; one that is not here is one that no checkpoint needs
