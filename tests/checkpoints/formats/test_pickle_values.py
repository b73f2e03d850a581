"""Placeholders are searched for tensors, each part once and with a bound."""

from __future__ import annotations

import time
from typing import Any

from landscape.checkpoints.formats.pickle_values import (
    MAX_SEARCHED,
    GlobalName,
    OpaqueValue,
    holds_objects,
    holds_tensors,
)
from landscape.checkpoints.formats.tensor_refs import Storage, TensorRef

TENSOR = TensorRef(Storage("0", "float32", 1), "float32", 0, (1,), (1,))


def test_a_tensor_is_found_at_any_depth_of_any_kind() -> None:
    for value in (TENSOR, {"a": [TENSOR]}, OpaqueValue("a.B", [(1,), {"state": (TENSOR,)}]), {TENSOR: 1}):
        assert holds_tensors(value)
    assert not holds_tensors(OpaqueValue("a.B", [{"a": [1, "b", None]}]))


def test_a_value_that_holds_itself_is_searched_once() -> None:
    value = OpaqueValue("a.B")
    value.parts.append([value])
    assert not holds_tensors(value)


def test_doubled_parts_are_searched_once() -> None:
    value: Any = ()
    for _ in range(60):
        value = (value, value)
    began = time.process_time()
    assert not holds_tensors(value)
    assert time.process_time() - began < 1


def test_an_object_of_very_many_parts_is_taken_to_hold_tensors() -> None:
    assert holds_tensors(OpaqueValue("a.B", [[[] for _ in range(MAX_SEARCHED + 1)]]))


def test_objects_and_names_are_found() -> None:
    assert holds_objects({"a": [GlobalName("a.f")]})
    assert holds_objects((OpaqueValue("a.B"),))
    assert not holds_objects({"a": [1, TENSOR]})
