"""Fields describe themselves, and validate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.errors import UsageError
from landscape.fields import (
    Option,
    Options,
    Scalar,
    described_fields,
    flag,
    option,
    own_first,
    scalar,
    title_parts,
    translate_aliases,
    validate,
    without_none,
)


@dataclass(frozen=True)
class Choices:
    radius: float = option(0.5, help="A radius.", min=0, max=1)
    count: int | None = option(None, help="A count.", min=1)
    colour: Literal["red", "blue"] = option("red", help="A colour.")
    undescribed: int = 3


def test_only_described_fields_are_options_with_their_types_resolved() -> None:
    fields = {field.name: field for field in described_fields(Choices, Option)}
    assert list(fields) == ["radius", "count", "colour"]
    assert fields["radius"].type is float
    assert without_none(fields["count"].type) is int
    assert fields["radius"].default == 0.5


@given(st.floats(0, 1), st.none() | st.integers(1, 9), st.sampled_from(["red", "blue"]))
def test_anything_in_range_is_valid(radius: float, count: int | None, colour: str) -> None:
    validate(Choices(radius=radius, count=count, colour=colour))  # type: ignore[arg-type]


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
        validate(Choices(**changes))  # type: ignore[arg-type]


def test_flags_have_dashes() -> None:
    assert flag("max_basis") == "--max-basis"


@dataclass(frozen=True)
class Renamed(Options):
    normalize: Literal["filter", "center"] = option(
        "filter",
        help="A scale.",
        aliases=("normalise", "norm_by"),
        value_aliases={"centre": "center"},
        stored="normalise",
        title="scaled by {}",
    )
    operator: Literal["hessian", "ggn"] = option("hessian", help="A matrix.", title=True)
    globs: tuple[str, ...] = option((), help="Names.", title=lambda stored: f"{len(stored['globs'])} globs")
    rho: float = option(0.1, help="A radius.")


def test_earlier_names_and_values_make_the_same_record() -> None:
    present = Renamed(normalize="center")
    for name in ("normalise", "norm_by"):
        assert Renamed(**{name: "centre"}) == present  # type: ignore[arg-type]


def test_an_option_is_not_given_by_two_of_its_names() -> None:
    with pytest.raises(UsageError, match=r"normalize is given twice, once as normalise\n.*--normalize alone"):
        Renamed(normalize="center", normalise="filter")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="normalize is given twice, once as norm_by"):
        translate_aliases(Renamed, {"normalise": "center", "norm_by": "center"})


def test_values_of_every_member_of_a_list_are_spelled_as_now() -> None:
    assert translate_aliases(Renamed, {"normalize": ["centre", "filter"], "unknown": 1}) == {
        "normalize": ["center", "filter"],
        "unknown": 1,
    }


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"normalise": "center", "operator": "ggn", "globs": ["a", "b"], "rho": 7}, "scaled by center, ggn, 2 globs"),
        ({"normalise": "filter", "operator": "hessian"}, ""),
        ({"normalize": "center"}, ""),
        ({"operator": None}, ""),
    ],
    ids=["all", "defaults", "not-the-stored-name", "none"],
)
def test_titles_say_what_differs_from_the_defaults(stored: dict[str, object], words: str) -> None:
    assert ", ".join(title_parts(Renamed, stored)) == words


def test_own_options_come_first() -> None:
    @dataclass(frozen=True)
    class More(Renamed):
        extra: int = option(1, help="More.")
        rho: float = option(0.2, help="Another default.")

    assert [field.name for field in own_first(More)] == ["rho", "extra", "normalize", "operator", "globs"]


def test_an_optional_number_may_stand_before_others_as_a_keyword() -> None:
    @dataclass(frozen=True)
    class Measured:
        cost: float | None = scalar("A cost.", optional=True, kw_only=True)
        value: float = scalar("A value.")

    assert Measured(2.0) == Measured(value=2.0, cost=None)
    assert [field.name for field in described_fields(Measured, Scalar)] == ["cost", "value"]
