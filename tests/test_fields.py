"""Fields describe themselves, and validate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import UsageError, listing, nearest
from landscape.fields import Option, described, flag, option, required, validate


@dataclass(frozen=True)
class Options:
    radius: float = option(0.5, help="A radius.", min=0, max=1)
    count: int | None = option(None, help="A count.", min=1)
    colour: Literal["red", "blue"] = option("red", help="A colour.")
    undescribed: int = 3


def test_only_described_fields_are_options_with_their_types_resolved() -> None:
    fields = {field.name: field for field in described(Options, Option)}
    assert list(fields) == ["radius", "count", "colour"]
    assert fields["radius"].type is float
    assert required(fields["count"].type) is int
    assert fields["radius"].default == 0.5


@given(st.floats(0, 1), st.none() | st.integers(1, 9), st.sampled_from(["red", "blue"]))
def test_anything_in_range_is_valid(radius: float, count: int | None, colour: str) -> None:
    validate(Options(radius=radius, count=count, colour=colour))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radius": -0.1}, r"--radius is -0.1\n.*at least 0 and at most 1"),
        ({"radius": 1.1}, "--radius is 1.1"),
        ({"radius": float("nan")}, "--radius is nan"),
        ({"radius": float("inf")}, "--radius is inf"),
        ({"count": 0}, "--count is 0"),
        ({"colour": "green"}, r"--colour is 'green'\n.*one of red, blue"),
    ],
    ids=str,
)
def test_anything_else_is_refused_by_its_flag(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate(Options(**changes))  # type: ignore[arg-type]


def test_flags_have_dashes() -> None:
    assert flag("max_basis") == "--max-basis"


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    assert nearest("modle", ["model", "data"]) == "modle (did you mean model?)"
    assert nearest("zzz", ["model"]) == "zzz"


def test_long_lists_are_cut() -> None:
    assert listing("abcdefg", limit=3) == "a, b, c and 4 more"
    assert listing("ab") == "a, b"
