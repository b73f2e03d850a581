"""JSON from files that nobody vouches for."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.checkpoints.json_data import MAX_BRACKETS, MAX_ITEMS, MAX_JSON_DEPTH, parse_json
from landscape.errors import CheckpointError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_are_read_as_json_reads_them(value: object) -> None:
    assert parse_json(json.dumps(value).encode(), "a.json") == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a.json is absurdly large"),
        (b"[" * (MAX_BRACKETS + 1), "absurdly large"),
        (b"[" + b"1," * (MAX_ITEMS + 1) + b"1]", "absurdly large"),
        (b'{"a": NaN}', "is no JSON: NaN is no number"),
        (b"[1e999]", "1e999 is no number"),
        (b"{", "is no JSON"),
        (b"\xff\xfe\xff", "is no JSON"),
        (b"[" * (MAX_JSON_DEPTH + 1) + b"]" * (MAX_JSON_DEPTH + 1), f"more than {MAX_JSON_DEPTH} lists"),
    ],
    ids=["too-large", "brackets", "items", "nan", "overflow", "torn", "no-text", "deep"],
)
def test_everything_else_is_refused_in_words(content: bytes | None, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_json(content, "a.json")


def test_a_refused_text_takes_little_memory() -> None:
    content = b"[[],[]" + b",[]" * MAX_BRACKETS + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="absurdly large"):
            parse_json(content, "a.json")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
