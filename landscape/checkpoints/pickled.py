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
from math import prod
from typing import Any, Protocol

from landscape.errors import shown

ITEMSIZE = {
    **dict.fromkeys(("bool", "uint8", "int8", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("float8_e8m0fnu",), 1),
    **dict.fromkeys(("uint16", "int16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("uint32", "int32", "float32"), 4),
    **dict.fromkeys(("uint64", "int64", "float64", "complex64"), 8),
    "complex128": 16,
}  # bytes by torch's name of the dtype
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}
DICTIONARIES = {
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.Counter",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
}
# kinds of value that training scripts keep beside the weights; they are passed over, never made
BYSTANDERS = {
    *("argparse.Namespace", "types.SimpleNamespace", "collections.deque", "typing.Any", "uuid.UUID"),
    *(f"builtins.{kind}" for kind in ("bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list")),
    "builtins.long",
    *(f"torch.per_{part}_{kind}" for part in ("tensor", "channel") for kind in ("affine", "symmetric")),
    *(f"builtins.{kind}" for kind in ("object", "range", "set", "slice", "str", "tuple")),
    *(f"datetime.{kind}" for kind in ("date", "datetime", "time", "timedelta", "timezone")),
    *("decimal.Decimal", "fractions.Fraction"),
    *(f"pathlib{place}.{kind}Path" for place in ("", "._local") for kind in ("", "Posix", "Windows", "PurePosix")),
    *("numpy.dtype", "numpy.ndarray", "numpy.float64", "numpy.float32", "numpy.int64", "numpy.int32", "numpy.bool_"),
    *(f"numpy.{c}.multiarray.{f}" for c in ("core", "_core") for f in ("scalar", "_reconstruct")),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
    *("torch.device", "torch.strided", "torch.torch_version.TorchVersion", "torch.serialization._get_layout"),
    *("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"),
    *(f"omegaconf.{place}" for place in ("dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata")),
    *(f"omegaconf.{place}" for place in ("base.Metadata", "nodes.AnyNode", "nodes.IntegerNode", "nodes.FloatNode")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("String", "Boolean", "Path", "Bytes", "Enum")),
}
ODD_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_qtensor": "quantised",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta (without values)",
    "torch._utils._rebuild_device_tensor_from_numpy": "device",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "device",
    "torch._utils._rebuild_wrapper_subclass": "wrapped",
}
MOST_DIMENSIONS = 64  # of a torch tensor
SLOT = 16  # bytes that a value takes in whatever holds it


class Refused(Exception):
    """The pickle names something that is no data; the message is its full name."""


class Damaged(Exception):
    """The bytes are no pickle, or one that contradicts itself."""


@dataclass(frozen=True, eq=False, slots=True)
class Name:
    """A module's member that the pickle names: a word here, not an import."""

    full: str


@dataclass(eq=False, slots=True)
class Opaque:
    """A value of a known harmless kind, left unmade; `state` is what it would have been given."""

    kind: str
    state: Any = None


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """The bytes behind tensors: the key under which the file keeps them, their dtype and how many items there are."""

    key: str
    dtype: str
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * ITEMSIZE[self.dtype]


@dataclass(frozen=True, eq=False, slots=True)
class TensorRef:
    """A tensor as described: a strided view, in items of `dtype`, of a storage."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.count * ITEMSIZE[self.dtype]


@dataclass(frozen=True, eq=False, slots=True)
class OddTensor:
    """A tensor that is not a plain array of numbers: sparse, quantised, ..."""

    kind: str


class Stream(Protocol):
    """What a pickle is read from; it must not give more than it has, whatever it is asked for."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


@dataclass(frozen=True)
class Pickle:
    """What a pickle describes, and the kinds of bystanders in it."""

    tree: Any
    bystanders: tuple[str, ...]


def interpret(stream: Stream, allowance: int) -> Pickle:
    """The value that a pickle describes, with tensors as `TensorRef`, read up to its end.

    `allowance` is the most bytes that the description may take in memory. Raises Refused for a name that is no data,
    and Damaged for bytes that are no pickle.
    """
    machine = _Machine(allowance)
    try:
        for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return Pickle(machine.stack.pop(), tuple(sorted(machine.bystanders)))
            STEPS[opcode.name](machine, argument)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, EOFError, struct.error) as error:
        raise Damaged(f"not a pickle that can be followed: {type(error).__name__}: {shown(error)}") from error
    raise Damaged("the pickle has no end")


class _Machine:
    """The stack machine of pickle's opcodes (PEP 3154 and pickletools' documentation), on inert values."""

    def __init__(self, allowance: int) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.bystanders: set[str] = set()
        self.left = allowance

    def remember(self, place: int | None) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]
        self.charge(4 * SLOT)

    def recall(self, place: int) -> None:
        self.stack.append(self.memo[place])
        self.charge(SLOT)

    def name(self, full: str) -> None:
        self.push(Name(self.known(full)))

    def push(self, value: Any) -> None:
        self.stack.append(value)
        self.charge(sys.getsizeof(value) + SLOT)

    def charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Damaged("its description would take more memory than the file can be worth")

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
        if not (full in RULES or full in BYSTANDERS or full in ODD_TENSORS or storage or dtype):
            raise Refused(shown(full))
        return full

    def made(self, name: Any, arguments: Any) -> Any:
        """What `name(*arguments)` would be."""
        if not (isinstance(name, Name) and isinstance(arguments, tuple)):
            raise TypeError("only names are called, with a tuple")
        if rule := RULES.get(name.full):
            return rule(self, *arguments)
        if kind := ODD_TENSORS.get(name.full):
            return OddTensor(kind)
        if name.full not in BYSTANDERS:  # a dtype or a storage type, as such harmless
            raise Refused(f"a call of {name.full}")
        self.bystanders.add(name.full)
        return Opaque(name.full, arguments)

    def put(self, items: list[Any]) -> None:
        """Keys and values in turn into the dictionary on top; keys that are no plain words or numbers are opaque."""
        target = self.stack[-1]
        if len(items) % 2:
            raise ValueError("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            plain = key is None or isinstance(key, str | int | float | bytes)
            if isinstance(target, dict):
                target[key if plain else Opaque("key")] = value
            elif not isinstance(target, Opaque):
                raise TypeError("items for something that is no dictionary")
            self.charge(8 * SLOT)

    def push_dictionary(self, items: list[Any]) -> None:
        self.push({})
        self.put(items)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise TypeError("items for something that is no list")
        self.charge(SLOT * len(items))

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].state = state

    def persistent(self) -> Storage:
        kind, name, key, _, count, *view = self.stack.pop()
        if kind != "storage" or view not in ([], [None]) or not _counts(count) or not isinstance(key, str):
            raise TypeError("an unknown kind of storage")
        storage = Storage(key, STORAGES[name.full.rpartition(".")[2]], count)
        first = self.storages.setdefault(key, storage)
        if (first.dtype, first.count) != (storage.dtype, storage.count):
            raise ValueError(f"storage {key} is described twice, differently")
        return first


def _counts(*values: Any) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _tensor(_: _Machine, storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> TensorRef:
    dtype = storage.dtype
    if len(rest) >= 3 and isinstance(rest[2], Name):  # the third form, for dtypes without a storage type of their own
        dtype = rest[2].full.removeprefix("torch.")
    return strided(storage, dtype, offset, shape, stride)


def strided(storage: Storage, dtype: str, offset: Any, shape: Any, stride: Any) -> TensorRef:
    """The view, if it lies inside its storage and has no more items than it; raises Damaged otherwise."""
    tuples = isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= MOST_DIMENSIONS
    if not (tuples and _counts(offset, *shape, *stride)):
        raise Damaged("a tensor whose sizes are no counts")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    items = storage.nbytes // ITEMSIZE[dtype]
    if prod(shape) > items or (prod(shape) and last >= items):
        raise Damaged(f"a tensor of shape {shape} with strides {stride} in a storage of {items} items")
    return TensorRef(storage, dtype, offset, shape, stride)


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
    "torch.Size": lambda machine, sizes=(): tuple(sizes),
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
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: None),
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
