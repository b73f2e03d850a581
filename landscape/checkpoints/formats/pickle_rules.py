"""What the calls in a pickle stand for, where their result is data: dictionaries, tensors, bytes, sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from landscape.checkpoints.formats.allowed_globals import DICTIONARIES, TENSOR_CLASSES
from landscape.checkpoints.formats.numpy_arrays import dtype_name, parse_array
from landscape.checkpoints.formats.pickle_values import SLOT, GlobalName, LongText, OpaqueValue, PendingArray
from landscape.checkpoints.formats.tensor_refs import MAX_DIMENSIONS, OddTensor, TensorRef, view_ref

if TYPE_CHECKING:
    from landscape.checkpoints.formats.pickle_machine import PickleMachine


def _rebuild_tensor(
    _: PickleMachine, storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any
) -> TensorRef | OddTensor:
    dtype = getattr(storage, "dtype", "")
    if any(isinstance(part, dict) and (part.get("conj") or part.get("neg")) for part in rest[2:]):
        return OddTensor("conjugated or negated, not resolved")
    if len(rest) >= 3 and isinstance(rest[2], GlobalName):  # in `_v3`: the dtype has no storage type of its own
        dtype = rest[2].full.removeprefix("torch.")
    return view_ref(storage, dtype, offset, shape, stride)


def _rebuild_from_type(machine: PickleMachine, function: Any, kind: Any, arguments: Any, *state: Any) -> Any:
    """A tensor of a class of torch's own; of any other class, whose numbers may mean something else, a placeholder."""
    value = machine.reduce(function, arguments)
    if isinstance(kind, GlobalName) and kind.full not in TENSOR_CLASSES:
        return machine.placeholder(kind.full, [value, *state])
    return value


def _rebuild_dictionary(machine: PickleMachine, *arguments: Any) -> dict[Any, Any]:
    items = arguments[-1] if arguments and isinstance(arguments[-1], list | dict) else {}
    pairs = items.items() if isinstance(items, dict) else items
    machine.stack.append({})
    for key, value in pairs:
        machine.put([key, value])
    dictionary: dict[Any, Any] = machine.stack.pop()
    return dictionary


def _bytes(machine: PickleMachine, text: Any, encoding: Any = "latin1", *_: Any) -> bytes | LongText:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("only bytes are written as text")
    if isinstance(text, LongText):
        return text
    machine.charge(len(text))
    return str.encode(text, "latin1")


def _reconstruct(machine: PickleMachine, kind: Any, *rest: Any) -> OpaqueValue:
    """An object of protocol 0 or 1: its class, the class of its base, and that base's value."""
    if not isinstance(kind, GlobalName | OpaqueValue):
        raise TypeError("only classes have objects")
    return machine.placeholder(kind.kind, list(rest))


def _reconstruct_array(machine: PickleMachine, kind: Any, *rest: Any) -> OpaqueValue:
    """An array whose state will follow; one of a class of its own is a placeholder."""
    if isinstance(kind, GlobalName) and kind.full == "numpy.ndarray":
        machine.charge(16 * SLOT)
        return PendingArray("numpy.ndarray", [rest])
    return machine.placeholder(getattr(kind, "kind", "numpy.ndarray"), [rest])


def _array_from_buffer(machine: PickleMachine, content: Any, kind: Any, shape: Any, order: Any = "C") -> Any:
    """An array of protocol 5, which comes with its bytes."""
    found = parse_array(shape, dtype_name(kind), order == "F", content, machine.next_array())
    return machine.keep_array(*found) if found else machine.placeholder("numpy.ndarray", [kind, shape])


def _byte_array(machine: PickleMachine, *arguments: Any) -> Any:
    """The bytes of a bytearray that is made from bytes; any other is a placeholder."""
    content = arguments[0] if arguments else None
    return content if isinstance(content, bytes | LongText) else machine.placeholder("builtins.bytearray", [arguments])


def _dtype(machine: PickleMachine, *arguments: Any) -> OpaqueValue:
    machine.charge(16 * SLOT)
    return OpaqueValue("numpy.dtype", [arguments])


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(DICTIONARIES, _rebuild_dictionary),
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda machine, tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda machine, tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.Size": lambda machine, sizes=(): tuple(sizes[:MAX_DIMENSIONS]) if isinstance(sizes, tuple | list) else (),
    "_codecs.encode": _bytes,
    "builtins.bytes": lambda machine, content=b"": bytes(content) if isinstance(content, bytes) else b"",
    "copyreg._reconstructor": _reconstruct,
    "builtins.bytearray": _byte_array,
    "numpy.dtype": _dtype,
    **dict.fromkeys((f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")), _reconstruct_array),
    **dict.fromkeys((f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")), _array_from_buffer),
}
