"""NumPy arrays in pickles and in `.npy` headers, described as tensors without NumPy. Needs no torch."""

from __future__ import annotations

import re
from math import prod
from typing import Any, BinaryIO

from landscape.checkpoints.formats.pickle_values import GlobalName, LongText, OpaqueValue
from landscape.checkpoints.formats.tensor_refs import (
    ITEMSIZE,
    MAX_DIMENSIONS,
    ArrayRef,
    DamageError,
    Storage,
    are_counts,
    contiguous_strides,
)

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 16  # bytes of the header of an .npy file; those of plain arrays have some hundred
DTYPES = {
    **{f"f{size}": f"float{8 * size}" for size in (2, 4, 8)},
    **{f"i{size}": f"int{8 * size}" for size in (1, 2, 4, 8)},
    **{f"u{size}": f"uint{8 * size}" for size in (1, 2, 4, 8)},
    "b1": "bool",
    "c8": "complex64",
    "c16": "complex128",
}  # torch's names of NumPy's dtypes
OTHER_DTYPES = {f"ml_dtypes.{name}": name for name in ITEMSIZE if "float" in name}  # bfloat16, float8
HEADER = re.compile(
    r"\{\s*'descr':\s*'(?P<order>[<>|=])(?P<kind>[A-Za-z]\d*)',\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[\d, L]*)\),?\s*\}\s*"
)
OBJECTS = "O"  # the kind of arrays whose items are Python objects


def array_from_state(state: Any, key: str) -> tuple[ArrayRef, bytes | LongText] | None:
    """The array that a pickle's state of one describes, and its bytes; None for one whose items are no numbers.

    Raises DamageError if the bytes are not as many as the shape says.
    """
    if not (isinstance(state, tuple) and len(state) == 5):
        return None
    _, shape, kind, fortran, content = state
    return parse_array(shape, dtype_name(kind), bool(fortran), content, key)


def parse_array(
    shape: Any, dtype: str | None, fortran: bool, content: Any, key: str
) -> tuple[ArrayRef, bytes | LongText] | None:
    """An array of this shape and dtype, and its bytes; None if these are none. Raises DamageError as above."""
    if isinstance(content, str):  # a pickle of Python 2
        content = content.encode("latin-1")
    if isinstance(content, bytearray):
        content = bytes(content)
    if dtype is None or not isinstance(content, bytes | LongText):
        return None
    ref = contiguous_array(key, shape, dtype, fortran)
    wrong = not ref.nbytes <= content.size <= 2 * ref.nbytes if isinstance(content, LongText) else False
    if wrong or (isinstance(content, bytes) and len(content) != ref.nbytes):
        raise DamageError(f"an array of shape {ref.shape} whose bytes are fewer or more")
    return ref, content


def contiguous_array(key: str, shape: Any, dtype: str, fortran: bool) -> ArrayRef:
    """An array with a storage of its own; raises DamageError for a shape that is none."""
    if not (isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and are_counts(*shape, prod(shape))):
        raise DamageError("an array whose sizes are no counts")
    return ArrayRef(Storage(key, dtype, prod(shape)), dtype, 0, shape, contiguous_strides(shape, fortran=fortran))


def dtype_name(kind: Any) -> str | None:
    """Torch's name of the dtype that a pickle describes; None for one that torch lacks or of another byte order."""
    if not (isinstance(kind, OpaqueValue) and kind.kind == "numpy.dtype" and kind.parts):
        return None
    arguments = kind.parts[0]
    named = arguments[0] if isinstance(arguments, tuple) and arguments else None
    states = [part for part in kind.parts[1:] if isinstance(part, tuple) and len(part) > 1]
    if any(state[1] not in ("<", "|", "=") for state in states):
        return None
    if isinstance(named, GlobalName):
        return OTHER_DTYPES.get(named.full)
    return DTYPES.get(named) if isinstance(named, str) else None


def read_header(file: BinaryIO, key: str) -> tuple[ArrayRef | None, int, str]:
    """What the header at this place of a file describes: the array, the header's size, and the kind of its items.

    The array is None if its items are no numbers that torch has. Raises DamageError for what is no header.
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise DamageError("an .npy header that is none")
    length_bytes = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(length_bytes), "little")
    if length > MAX_HEADER:
        raise DamageError(f"an .npy header of {length:,} bytes")
    found = HEADER.fullmatch(file.read(length).decode("latin-1"))
    size = 8 + length_bytes + length
    if found is None:
        return None, size, "records"
    digits = [word.strip(" L") for word in found["shape"].split(",")]
    if any(len(word) > 19 for word in digits):
        raise DamageError("an array whose sizes are no counts")
    shape = tuple(int(word) for word in digits if word)
    dtype = DTYPES.get(found["kind"]) if found["order"] != ">" else None
    kind = f"{found['order']}{found['kind']}"
    return (contiguous_array(key, shape, dtype, found["fortran"] == "True") if dtype else None), size, kind
