"""The stack machine of pickle, on inert values: nothing that a pickle names is imported, and nothing is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from landscape.checkpoints.formats.allowed_globals import BYSTANDERS, CLASSES, DICTIONARIES, ODD_TENSORS, STORAGES
from landscape.checkpoints.formats.tensor_refs import (
    ITEMSIZE,
    MAX_DIMENSIONS,
    DamageError,
    OddTensor,
    Storage,
    TensorRef,
    are_counts,
    view_ref,
)
from landscape.errors import safe_excerpt

MAX_PLAIN_INT = 1 << 60  # whole numbers below it have hashes of their own
SLOT = 16  # bytes that a value takes in its container


class RefusedGlobalError(Exception):
    """The pickle names something that is no data; the message is its full name."""


@dataclass(frozen=True, eq=False, slots=True)
class GlobalName:
    """A module's member that the pickle names: a word here, not an import."""

    full: str


@dataclass(eq=False, slots=True)
class OpaqueValue:
    """A value of an allowed kind that is not constructed; `state` holds the arguments in the pickle."""

    kind: str
    state: Any = None


class PickleMachine:
    """The stack machine of pickle's opcodes (PEP 3154 and pickletools' documentation), on inert values."""

    def __init__(self, allowance: int) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.bystanders: set[str] = set()
        self.names: dict[str, GlobalName] = {}
        self.left = allowance

    def remember(self, key: int | None) -> None:
        """Keeps the value on top of the stack in the memo, under the next key unless one is given."""
        if key is not None and not 0 <= key < MAX_PLAIN_INT:
            raise ValueError("a place that no memory has")
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]
        self.charge(6 * SLOT)

    def recall(self, key: int) -> None:
        """Pushes a value of the memo."""
        self.stack.append(self.memo[key])
        self.charge(SLOT)

    def name(self, full: str) -> None:
        """Pushes the name of a module's member; raises RefusedGlobalError unless it stands for data."""
        if full not in self.names:
            self.names[full] = GlobalName(self.require_data_name(full))
            self.charge(8 * SLOT + len(full))
        self.push(self.names[full])

    def push(self, value: Any) -> None:
        """Pushes a value and charges its memory."""
        self.stack.append(value)
        self.charge(sys.getsizeof(value) + SLOT)

    def charge(self, size: int) -> None:
        """Takes bytes from the allowance; raises DamageError once it is used up."""
        self.left -= size
        if self.left < 0:
            raise DamageError("its description would take more memory than the file can be worth")

    def pop_many(self, count: int) -> list[Any]:
        """Takes so many values from the stack, in the order in which they were pushed."""
        values = self.stack[-count:]
        if len(values) < count:
            raise IndexError("the stack is empty")
        del self.stack[-count:]
        return values

    def since_mark(self) -> list[Any]:
        """Takes the values that were pushed after the last mark."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def mark(self) -> None:
        """Begins a stack of its own for the values that follow."""
        self.marked.append(self.stack)
        self.stack = []
        self.charge(4 * SLOT)

    def require_data_name(self, full: str) -> str:
        """The name, if it stands for data; raises RefusedGlobalError otherwise."""
        full = full.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
        module, _, name = full.rpartition(".")
        storage = module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES
        dtype = module == "torch" and name in ITEMSIZE
        listed = full in RULES or full in BYSTANDERS or full in ODD_TENSORS
        if not (listed or storage or dtype or full.startswith(CLASSES)):
            raise RefusedGlobalError(safe_excerpt(full))
        return full

    def reduce(self, name: Any, arguments: Any) -> Any:
        """The inert value that stands for the call `name(*arguments)`, which is never made."""
        if not (isinstance(name, GlobalName) and isinstance(arguments, tuple)):
            raise TypeError("only names are called, with a tuple")
        if rule := RULES.get(name.full):
            return rule(self, *arguments)
        if kind := ODD_TENSORS.get(name.full):
            return OddTensor(kind)
        if name.full not in BYSTANDERS:  # a dtype, a storage type or a layer's class may be named, but not called
            raise RefusedGlobalError(safe_excerpt(name.full))
        self.bystanders.add(name.full)
        return OpaqueValue(name.full, arguments)

    def put(self, items: list[Any]) -> None:
        """Puts keys and values in turn into the dictionary on top; keys other than texts and small ints are opaque."""
        target = self.stack[-1]
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # numbers of one hash would make a dictionary of them quadratic; texts have hashes of this process alone
            plain = key is None or isinstance(key, str | bytes) or (type(key) is int and abs(key) < MAX_PLAIN_INT)
            if isinstance(target, dict):
                target[key if plain else OpaqueValue("key")] = value
            elif not isinstance(target, OpaqueValue):
                raise TypeError("items for something that is no dictionary")
            self.charge(8 * SLOT)

    def push_dictionary(self, items: list[Any]) -> None:
        """Pushes a dictionary of keys and values in turn."""
        self.push({})
        self.put(items)

    def extend(self, items: list[Any]) -> None:
        """Appends items to the list on top."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, OpaqueValue):
            raise TypeError("items for something that is no list")
        self.charge(SLOT * len(items))

    def build(self) -> None:
        """Gives the state on top to the value below it, if that is opaque."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], OpaqueValue):
            self.stack[-1].state = state

    def persistent(self) -> Storage:
        """The storage that the persistent id on top describes; raises ValueError if it contradicts an earlier one."""
        kind, name, key, _, count, *view = self.stack.pop()
        if kind != "storage" or view not in ([], [None]) or not are_counts(count) or not isinstance(key, str):
            raise TypeError("an unknown kind of storage")
        storage = Storage(key, STORAGES[name.full.rpartition(".")[2]], count)
        first = self.storages.setdefault(key, storage)
        if (first.dtype, first.count) != (storage.dtype, storage.count):
            raise ValueError(f"storage {key} is described twice, differently")
        return first


def _rebuild_tensor(
    _: PickleMachine, storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any
) -> TensorRef | OddTensor:
    dtype = getattr(storage, "dtype", "")
    if any(isinstance(part, dict) and (part.get("conj") or part.get("neg")) for part in rest[2:]):
        return OddTensor("conjugated or negated, not resolved")
    if len(rest) >= 3 and isinstance(rest[2], GlobalName):  # in `_v3`: the dtype has no storage type of its own
        dtype = rest[2].full.removeprefix("torch.")
    return view_ref(storage, dtype, offset, shape, stride)


def _rebuild_dictionary(machine: PickleMachine, *arguments: Any) -> dict[Any, Any]:
    items = arguments[-1] if arguments and isinstance(arguments[-1], list | dict) else {}
    pairs = items.items() if isinstance(items, dict) else items
    machine.stack.append({})
    for key, value in pairs:
        machine.put([key, value])
    dictionary: dict[Any, Any] = machine.stack.pop()
    return dictionary


def _bytes(machine: PickleMachine, text: Any, encoding: Any = "latin1", *_: Any) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("only bytes are written as text")
    machine.charge(len(text))
    return str.encode(text, "latin1")


def _reconstruct(machine: PickleMachine, name: Any, *_: Any) -> Any:
    return machine.reduce(name, ())


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(DICTIONARIES, _rebuild_dictionary),
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda machine, tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda machine, tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": lambda machine, function, kind, arguments, *_: machine.reduce(
        function, arguments
    ),
    "torch.Size": lambda machine, sizes=(): tuple(sizes[:MAX_DIMENSIONS]) if isinstance(sizes, tuple | list) else (),
    "_codecs.encode": _bytes,
    "builtins.bytes": lambda machine, content=b"": bytes(content) if isinstance(content, bytes) else b"",
    "copyreg._reconstructor": _reconstruct,
}
LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
    *("BINBYTES8", "BYTEARRAY8"),
)
STEPS: dict[str, Callable[[PickleMachine, Any], object]] = {
    **dict.fromkeys(LITERALS, PickleMachine.push),
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: m.charge(4 * SLOT)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), PickleMachine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), PickleMachine.recall),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_SET": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "GLOBAL": lambda m, words: m.name(words.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(".".join(m.pop_many(2))),
    "MARK": lambda m, _: m.mark(),
    "POP": lambda m, _: m.pop_many(1),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.push(tuple(m.pop_many(1))),
    "TUPLE2": lambda m, _: m.push(tuple(m.pop_many(2))),
    "TUPLE3": lambda m, _: m.push(tuple(m.pop_many(3))),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "FROZENSET": lambda m, _: m.push(m.since_mark()),
    "DICT": lambda m, _: m.push_dictionary(m.since_mark()),
    "APPEND": lambda m, _: m.extend(m.pop_many(1)),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.put(m.pop_many(2)),
    "SETITEMS": lambda m, _: m.put(m.since_mark()),
    "BINPERSID": lambda m, _: m.push(m.persistent()),
    "INST": lambda m, words: m.require_data_name(f"an instance of {words}"),
    "REDUCE": lambda m, _: m.push(m.reduce(*m.pop_many(2))),
    "NEWOBJ": lambda m, _: m.push(m.reduce(*m.pop_many(2))),
    "NEWOBJ_EX": lambda m, _: m.push(m.reduce(*m.pop_many(3)[:2])),
    "BUILD": lambda m, _: m.build(),
}  # by opcode: checkpoints need no others
