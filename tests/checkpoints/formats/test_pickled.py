"""A pickle is followed without calling anything; what it describes is what torch would have made of it."""

from __future__ import annotations

import argparse
import io
import pickle
import pickletools
import time
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.checkpoints.formats.pickle_values import LongText, OpaqueValue
from landscape.checkpoints.formats.pickled import Pickle, interpret_pickle
from landscape.checkpoints.formats.tensor_refs import ArrayRef, DamageError

PLENTY = 1 << 24
KEYS = st.text() | st.integers(1 - 2**60, 2**60 - 1)  # others are opaque: their hashes could be made equal
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner),
    max_leaves=30,
)


def followed(value: Any, protocol: int = 2) -> Pickle:
    return interpret_pickle(io.BytesIO(pickle.dumps(value, protocol)), PLENTY)


def description(value: Any, path: Path) -> Pickle:
    """What torch.save writes of a value, followed."""
    torch.save(value, path)
    with zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if name.endswith("/data.pkl"))
        return interpret_pickle(io.BytesIO(file.read(name)), PLENTY)


@settings(deadline=None)
@given(plain, st.integers(0, 5))
def test_plain_values_come_back_as_they_were(value: Any, protocol: int) -> None:
    assert followed(value, protocol).tree == value


@pytest.mark.parametrize("protocol", range(6))
def test_dictionaries_of_every_kind_are_dictionaries(protocol: int) -> None:
    kinds = [OrderedDict(a=1, b=[2]), Counter("aab"), defaultdict(int, {"c": 3})]
    assert followed(kinds, protocol).tree == [dict(kind) for kind in kinds]
    assert followed([{1, 2}, frozenset("a")], protocol).tree in ([[1, 2], ["a"]],) or protocol < 4


@pytest.mark.parametrize("protocol", range(6))
def test_bystanders_are_passed_over_and_named(protocol: int) -> None:
    values = {"args": argparse.Namespace(lr=1), "path": Path("a"), "scalar": np.float64(2.0), "texts": np.array(["a"])}
    pickled = followed(values, protocol)
    assert all(isinstance(value, OpaqueValue) for value in pickled.tree.values())
    assert {"argparse.Namespace", "numpy.ndarray"} < set(pickled.bystanders)


ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "scalar": np.array(3.5, dtype=np.float32),
    "empty": np.zeros((0, 3), dtype=np.float16),
    "bools": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "strided": np.arange(10)[::2],
    "wide": np.arange(3, dtype=np.uint64),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_described_with_their_bytes(name: str, protocol: int) -> None:
    array = ARRAYS[name]
    pickled = followed({"a": array, "again": array}, protocol)
    ref = pickled.tree["a"]
    assert isinstance(ref, ArrayRef)
    assert pickled.tree["again"] is ref
    assert pickled.bystanders == ()
    content = pickled.arrays[ref.storage.key]
    assert isinstance(content, bytes)
    flat = np.frombuffer(content, dtype=array.dtype)
    bytewise = tuple(step * array.itemsize for step in ref.stride)
    assert np.array_equal(np.lib.stride_tricks.as_strided(flat, ref.shape, bytewise), array)


@pytest.mark.parametrize(
    "array",
    [np.array(["a"]), np.array([{}]), np.arange(3.0).astype(">f8"), np.zeros(2, "f4,i4"), np.zeros(2, "M8[s]")],
    ids=["text", "object", "big-endian", "records", "dates"],
)
def test_arrays_of_what_torch_lacks_are_passed_over_and_named(array: Any) -> None:
    pickled = followed({"a": array})
    assert isinstance(pickled.tree["a"], OpaqueValue)
    assert pickled.bystanders == ("numpy.ndarray",)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 8, 70 << 20])
@pytest.mark.parametrize("protocol", [2, 4])
def test_long_values_stay_in_the_file(size: int, protocol: int) -> None:
    array = np.full(size // 8, 1.5)
    content = pickle.dumps({"a": array, "b": 1}, protocol)
    pickled = interpret_pickle(io.BytesIO(content), PLENTY)
    kept = pickled.arrays[pickled.tree["a"].storage.key]
    assert pickled.tree["b"] == 1
    if size > 1 << 20:
        assert isinstance(kept, LongText)
        there = content[kept.begin : kept.begin + kept.size]
        assert (there.decode().encode("latin-1") if kept.encoded else there) == array.tobytes()


def test_bytes_that_do_not_fit_the_shape_are_damage() -> None:
    content = pickle.dumps(np.ones(3), 2).replace(b"K\x03\x85", b"K\x04\x85", 1)
    with pytest.raises(DamageError, match=r"shape \(4,\) whose bytes are fewer"):
        interpret_pickle(io.BytesIO(content), PLENTY)


def test_a_value_that_claims_more_than_the_file_is_damage() -> None:
    with pytest.raises(DamageError, match="more than there are"):
        interpret_pickle(io.BytesIO(b"\x80\x02X" + (1 << 30).to_bytes(4, "little") + b"a."), PLENTY)


def test_an_array_that_is_kept_in_many_places_is_put_there_once() -> None:
    """Kept in the memo twenty thousand times before its state comes, and given it thousands of times."""
    whole = pickle.dumps(np.ones(1), 2)
    calls = [place for opcode, _, place in pickletools.genops(whole) if opcode.name == "REDUCE"]
    build, made = whole.rindex(b"b"), calls[1] + 1  # behind the array, which the call before gives a letter
    puts = b"".join(b"r" + number.to_bytes(4, "little") for number in range(1000, 21_000))
    again = b"2" * 4000 + b"h\xf0b0" * 4000  # copies on the stack, and the state for each of them
    hostile = whole[:made] + puts + again[:4000] + whole[made:build] + b"q\xf0b0" + again[4000:-4] + b"."
    began = time.process_time()
    tree = interpret_pickle(io.BytesIO(hostile), PLENTY).tree
    assert isinstance(tree, OpaqueValue)  # the lowest copy, whose state has not come
    assert time.process_time() - began < 1
