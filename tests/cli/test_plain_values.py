"""What no option can use is refused where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from landscape_cli.plain_values import MAX_DEPTH, MAX_LETTERS, require_plain


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2**63, "an integer of more than 64 bits"),
        (-(2**63) - 1, "an integer of more than 64 bits"),
        ("a" * (MAX_LETTERS + 1), "a text of 4,097 letters: aaa"),
        ("a\0b", r"a text with the character NUL: a\\x00b"),
        (nested(MAX_DEPTH), "more than 50 tables and lists in one another"),
    ],
    ids=["integer", "negative", "long", "nul", "deep"],
)
def test_it_is_found_as_a_value_in_a_list_in_a_table_and_as_a_key(value: Any, words: str) -> None:
    documents = [{"a": value}, {"a": {"b": [1, value]}}]
    if isinstance(value, str):
        documents += [{value: 1}, {"a": [{value: 1}]}]
    for document in documents:
        with pytest.raises(ValueError, match=words):
            require_plain(document)


def test_what_settings_hold_is_plain() -> None:
    require_plain(
        {"a": [2**63 - 1, -(2**63), 1e300, True, "a" * MAX_LETTERS], "b": {"c": {}}, "d": nested(MAX_DEPTH - 2)}
    )
