"""The stack machine of pickle, on inert values: nothing that a pickle names is imported, and nothing is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from landscape.checkpoints.formats.allowed_globals import CLASSES, FORBIDDEN, KNOWN, ODD_TENSORS, STORAGES
from landscape.checkpoints.formats.numpy_arrays import array_from_state
from landscape.checkpoints.formats.pickle_rules import RULES
from landscape.checkpoints.formats.pickle_values import (
    MAX_PLAIN_INT,
    SLOT,
    GlobalName,
    HandedOver,
    LongText,
    OpaqueValue,
    PendingArray,
    RefusedGlobalError,
)
from landscape.checkpoints.formats.tensor_refs import (
    ArrayRef,
    LargeDescriptionError,
    OddTensor,
    Storage,
    TensorRef,
    are_counts,
)
from landscape.errors import safe_excerpt


class PickleMachine:
    """The stack machine of pickle's opcodes (PEP 3154 and pickletools' documentation), on inert values."""

    def __init__(self, allowance: int) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.arrays: dict[str, bytes | LongText] = {}  # the bytes of NumPy arrays by the keys of their storages
        self.bystanders: set[str] = set()
        self.names: dict[str, GlobalName] = {}
        self.left = allowance

    def remember(self, key: int | None) -> None:
        """Keeps the value on top of the stack in the memo, under the next key unless one is given."""
        if key is not None and not 0 <= key < MAX_PLAIN_INT:
            raise ValueError("a place that no memory has")
        key = len(self.memo) if key is None else key
        self.memo[key] = self.stack[-1]
        if isinstance(self.stack[-1], PendingArray):
            self.stack[-1].keys.append(key)
        self.charge(6 * SLOT)

    def recall(self, key: int) -> None:
        """Pushes a value of the memo."""
        self.stack.append(self.memo[key])
        self.charge(SLOT)

    def name(self, full: str) -> None:
        """Pushes the name of a module's member; raises RefusedGlobalError if it runs commands or code."""
        if full not in self.names:
            self.names[full] = self._name_of_global(full)
            self.charge(8 * SLOT + len(full))
        self.push(self.names[full])

    def push(self, value: Any) -> None:
        """Pushes a value and charges its memory."""
        self.stack.append(value)
        self.charge(sys.getsizeof(value) + SLOT)

    def charge(self, size: int) -> None:
        """Takes bytes from the allowance; raises LargeDescriptionError once it is used up."""
        self.left -= size
        if self.left < 0:
            raise LargeDescriptionError("its description would take more memory than the file can be worth")

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

    def _name_of_global(self, full: str) -> GlobalName:
        """A name, noted as a bystander unless it is one of those that checkpoints of tensors are made of."""
        plain = full.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
        module, _, name = plain.rpartition(".")
        if plain in FORBIDDEN or f"{module}.*" in FORBIDDEN:
            raise RefusedGlobalError(safe_excerpt(plain))
        storage = module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES
        if not (storage or plain in RULES or plain in KNOWN or plain.startswith(CLASSES)):
            self.bystanders.add(safe_excerpt(plain))
        return GlobalName(plain)

    def reduce(self, called: Any, arguments: Any, *more: Any) -> Any:
        """The inert value that stands for the call `called(*arguments)`, which is never made."""
        if not (isinstance(called, GlobalName | OpaqueValue) and isinstance(arguments, tuple)):
            raise TypeError("only names are called, with a tuple")
        if isinstance(called, GlobalName):
            if rule := RULES.get(called.full):
                return rule(self, *arguments)
            if kind := ODD_TENSORS.get(called.full):
                return OddTensor(kind)
        for part in arguments:
            self._hand_over(part, called.kind)
            if isinstance(part, list | tuple):
                self.charge(len(part))  # or a file could have a long list gone through again and again
                for inner in part:
                    self._hand_over(inner, called.kind)
        return self.placeholder(called.kind, [arguments, *more])

    def _hand_over(self, value: Any, kind: str) -> None:
        """Marks a dictionary that an unknown call of this kind could change."""
        if isinstance(value, dict):
            value[HandedOver(kind)] = None
            self.charge(8 * SLOT)

    def placeholder(self, kind: str, parts: list[Any]) -> OpaqueValue:
        """A placeholder for an object of this kind, which is noted as a bystander."""
        self.bystanders.add(safe_excerpt(kind))
        self.charge(8 * SLOT + SLOT * len(parts))
        return OpaqueValue(kind, parts)

    def put(self, items: list[Any]) -> None:
        """Puts keys and values in turn into the dictionary on top; keys other than texts and small ints are opaque."""
        target = self.stack[-1]
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # numbers of one hash would make a dictionary of them quadratic; texts have hashes of this process alone
            plain = key is None or isinstance(key, str | bytes) or (type(key) is int and abs(key) < MAX_PLAIN_INT)
            if isinstance(target, dict):
                target[key if plain or isinstance(key, OpaqueValue) else OpaqueValue("key")] = value
            elif isinstance(target, OpaqueValue):
                target.parts += (key, value)
            else:
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
        elif isinstance(target, OpaqueValue):
            target.parts += items
        else:
            raise TypeError("items for something that is no list")
        self.charge(SLOT * len(items))

    def build(self) -> None:
        """Gives the state on top to the value below it, if that is a placeholder.

        Raises ValueError for a tensor, which a state could turn into another.
        """
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, PendingArray) and (found := array_from_state(state, self.next_array())):
            self.stack[-1] = self.keep_array(*found)
            self.memo |= {key: self.stack[-1] for key in target.keys if self.memo.get(key) is target}
            target.keys.clear()  # or a file could have them gone through again and again
        elif isinstance(target, OpaqueValue):
            self._note_array(target)
            target.parts.append(state)
            self.charge(SLOT)
        elif isinstance(target, TensorRef | OddTensor | Storage):
            raise ValueError("a state for a tensor, which has none")

    def next_array(self) -> str:
        """The key of the next array's storage, which no storage of torch has."""
        return f"array {len(self.arrays)}"

    def keep_array(self, ref: ArrayRef, content: bytes | LongText) -> ArrayRef:
        """The array, whose bytes are kept under the key of its storage."""
        self.arrays[ref.storage.key] = content
        self.charge(32 * SLOT)
        return ref

    def _note_array(self, target: OpaqueValue) -> None:
        """Notes an array that is no tensor (texts, objects, another byte order) as a bystander."""
        if isinstance(target, PendingArray):
            self.bystanders.add(target.kind)

    def instance(self, words: str) -> None:
        """Pushes what stands for an instance in protocol 0: of the named class, with the values since the mark."""
        arguments = tuple(self.since_mark())
        self.name(words.replace(" ", ".", 1))
        self.push(self.reduce(self.stack.pop(), arguments))

    def persistent(self) -> Any:
        """The storage that the persistent id on top describes, or the class of a module in the old format.

        Raises ValueError if it contradicts an earlier one.
        """
        kind, name, *about = self.stack.pop()
        if kind == "module" and isinstance(name, GlobalName):  # with its source code, which is of no use here
            return name
        key, _, count, *view = about
        if kind != "storage" or view not in ([], [None]) or not are_counts(count) or not isinstance(key, str):
            raise TypeError("an unknown kind of storage")
        storage = Storage(key, STORAGES[name.full.rpartition(".")[2]], count)
        first = self.storages.setdefault(key, storage)
        if (first.dtype, first.count) != (storage.dtype, storage.count):
            raise ValueError(f"storage {key} is described twice, differently")
        return first


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
    "INST": PickleMachine.instance,
    "OBJ": lambda m, _: m.push(m.reduce((values := m.since_mark())[0], tuple(values[1:]))),
    "REDUCE": lambda m, _: m.push(m.reduce(*m.pop_many(2))),
    "NEWOBJ": lambda m, _: m.push(m.reduce(*m.pop_many(2))),
    "NEWOBJ_EX": lambda m, _: m.push(m.reduce(*m.pop_many(3))),
    "BUILD": lambda m, _: m.build(),
}  # by opcode: checkpoints need no others
