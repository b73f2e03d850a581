"""Settings become options with the fields' own types, or are refused with their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from landscape.errors import UsageError
from landscape.fields import Options, option
from landscape_cli.settings_values import record_from_settings, split_numbers


@dataclass(frozen=True)
class Choices(Options):
    count: int = option(1, help="A count.")
    size: int | None = option(None, help="A size.")
    radius: float = option(0.5, help="A radius.")
    plot: bool = option(True, help="Draw.")
    name: str | None = option(None, help="A name.")
    color: Literal["red", "grey"] = option("red", help="A color.", aliases=("colour",), value_aliases={"gray": "grey"})
    globs: tuple[str, ...] = option((), help="Globs.")
    radii: tuple[float, ...] = option((), help="Radii.")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, Choices()),
        ({"count": "7", "size": 3}, Choices(count=7, size=3)),
        ({"radius": 2}, Choices(radius=2.0)),
        ({"radius": "1e-3"}, Choices(radius=0.001)),
        ({"plot": False}, Choices(plot=False)),
        ({"name": 12}, Choices(name="12")),
        ({"colour": "gray"}, Choices(color="grey")),
        ({"globs": "a.*"}, Choices(globs=("a.*",))),
        ({"globs": ["a,b", "c"]}, Choices(globs=("a,b", "c"))),
        ({"radii": [0.1, "0.2,0.3"]}, Choices(radii=(0.1, 0.2, 0.3))),
        ({"radii": 1}, Choices(radii=(1.0,))),
        ({"radii": []}, Choices()),
    ],
    ids=str,
)
def test_values_have_the_types_of_their_fields(table: dict[str, Any], expected: Choices) -> None:
    record = record_from_settings(Choices, table)
    assert record == expected
    assert [type(value) for value in vars(record).values()] == [type(value) for value in vars(expected).values()]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"count": 1.5}, r"\[eig\]: count is 1.5, not a whole number\n.*what --count takes: A count."),
        ({"count": "many"}, "count is 'many', not a whole number"),
        ({"count": True}, "count is True, not one value"),
        ({"count": [1, 2]}, r"count is \[1, 2\], not one value"),
        ({"radius": "wide"}, "radius is 'wide', not a number"),
        ({"radii": ["0.1,wide"]}, "radii is 'wide', not a number"),
        ({"plot": "yes"}, "plot is 'yes', not true or false"),
        ({"globs": [{"a": 1}]}, "globs is {'a': 1}, not one value"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_with_its_place(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        record_from_settings(Choices, table, "[eig]")


def test_numbers_joined_by_commas_are_split_and_numbers_stay() -> None:
    assert split_numbers(["1,2.5", 3, "4"]) == ["1", "2.5", 3, "4"]
