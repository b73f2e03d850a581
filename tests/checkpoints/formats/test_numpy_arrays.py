"""Arrays are described as NumPy writes them, and headers that are none are damage."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from landscape.checkpoints.formats.numpy_arrays import DTYPES, contiguous_array, dtype_name, read_header
from landscape.checkpoints.formats.pickle_values import GlobalName, OpaqueValue
from landscape.checkpoints.formats.tensor_refs import DamageError


def header(array: Any) -> tuple[Any, int, str]:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    size = file.tell()
    file.seek(0)
    ref, length, kind = read_header(file, "k")
    assert array.dtype.hasobject or length == size - array.nbytes
    return ref, length, kind


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_headers_of_every_dtype_and_order_are_read(name: str, order: Any) -> None:
    array = np.zeros((2, 3, 4), dtype=name, order=order)
    ref, _, _ = header(array)
    assert (ref.dtype, ref.shape) == (DTYPES[name], array.shape)
    assert tuple(step * array.itemsize for step in ref.stride) == array.strides


@pytest.mark.parametrize("shape", [(), (0,), (5,), (0, 3), (1, 1, 1)])
def test_headers_of_every_shape_are_read(shape: tuple[int, ...]) -> None:
    assert header(np.zeros(shape))[0].shape == shape


@pytest.mark.parametrize("dtype", [">f4", "U3", "O", "M8[s]", "f4,i4", "f16"], ids=str)
def test_items_that_torch_lacks_have_a_kind_and_no_array(dtype: str) -> None:
    ref, _, kind = header(np.zeros(2, dtype=dtype))
    assert ref is None
    assert kind


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 3))
@example(b"\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }", 1)
@example(b"\xff\xff\xff\xff", 2)
def test_arbitrary_headers_never_raise_anything_unplanned(content: bytes, version: int) -> None:
    try:
        read_header(io.BytesIO(b"\x93NUMPY" + bytes([version, 0]) + content), "k")
    except DamageError:
        pass


@pytest.mark.parametrize("shape", ["(-1,)", [2], (1 << 62, 4), (-1, -1), (True,), (1,) * 65, None])
def test_a_shape_that_is_none_is_damage(shape: Any) -> None:
    with pytest.raises(DamageError, match="sizes are no counts"):
        contiguous_array("k", shape, "float32", fortran=False)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ([("f4", False, True), (3, "<", None)], "float32"),
        ([("f4", False, True), (3, ">", None)], None),
        ([("b1",), (3, "|")], "bool"),
        ([(GlobalName("ml_dtypes.bfloat16"), False, True), (3, "=")], "bfloat16"),
        ([(GlobalName("os.system"),)], None),
        ([("O8",), (3, "|")], None),
        ([()], None),
        ([], None),
        ([None], None),
    ],
)
def test_a_dtype_in_a_pickle_has_torch_s_name(parts: list[Any], name: str | None) -> None:
    assert dtype_name(OpaqueValue("numpy.dtype", parts)) == name
