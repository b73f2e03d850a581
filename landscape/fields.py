"""Dataclass fields that describe themselves: options of an analysis, scalars and arrays of its result.

The command line, validation, HDF5 and JSON are all derived from these descriptions, so nothing is written twice.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Container, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Generic, TypeVar

from landscape.errors import UsageError

T = TypeVar("T")
KEY = "landscape"  # where a field keeps its description in dataclasses' metadata


@dataclass(frozen=True)
class Option:
    """A choice of the user: its help, its closed range, and whether it may differ when a run is resumed.

    One that is `typed` counts only as a flag, not from settings or the environment.
    """

    help: str
    min: float | None = None
    max: float | None = None
    short: str | None = None
    identity: bool = True  # False: changing it does not change what is measured
    typed: bool = False


@dataclass(frozen=True)
class Gauge:
    """What one must know to compare a number with an earlier one: fields of the same result, by name.

    `error` holds its standard error or bound, `draws` the values whose mean it is, one for each random vector, `floor`
    the smallest difference that is no rounding, and `asked` the relative half-width that the measurement was asked for.
    `advice` is given to whoever would gate on it.
    """

    error: str = ""
    draws: str = ""
    floor: str = ""
    asked: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Scalar:
    """One number of a result."""

    help: str
    unit: str = "1"
    optional: bool = False
    gauge: Gauge | None = None


@dataclass(frozen=True)
class Array:
    """An array of a result with the names of its dimensions, outermost first; it may hold `words`.

    A dimension may have its coordinates in an optional array of the same name: without these it is not there.

    A `detail` is left out of tables that would not fit into the terminal.
    """

    dims: tuple[str, ...]
    help: str
    unit: str = "1"
    words: bool = False
    detail: bool = False
    gauge: Gauge | None = None


def option(
    default: Any,
    *,
    help: str,
    min: float | None = None,
    max: float | None = None,
    short: str | None = None,
    identity: bool = True,
    typed: bool = False,
) -> Any:
    """A field that becomes a command-line flag; `short` adds a one-letter flag."""
    described = Option(help=help, min=min, max=max, short=short, identity=identity, typed=typed)
    return dataclasses.field(default=default, metadata={KEY: described})


def scalar(help: str, unit: str = "1", *, optional: bool = False, gauge: Gauge | None = None) -> Any:
    """A field that holds one number of a result; an optional one may be None and is then not stored."""
    described = {KEY: Scalar(help=help, unit=unit, optional=optional, gauge=gauge)}
    return dataclasses.field(default=None, metadata=described) if optional else dataclasses.field(metadata=described)


def array(
    *dims: str,
    help: str,
    unit: str = "1",
    optional: bool = False,
    words: bool = False,
    detail: bool = False,
    gauge: Gauge | None = None,
) -> Any:
    """A field that holds an array of a result; an optional one may be None and is then not stored."""
    described = {KEY: Array(dims=dims, help=help, unit=unit, words=words, detail=detail, gauge=gauge)}
    return dataclasses.field(default=None, metadata=described) if optional else dataclasses.field(metadata=described)


@dataclass(frozen=True)
class Described(Generic[T]):
    """A field's name, type, default and description."""

    name: str
    type: Any
    default: Any
    about: T


def described(record: type, kind: type[T]) -> Iterator[Described[T]]:
    """The fields of the dataclass `record` whose description is of the given kind, in order."""
    hints = typing.get_type_hints(record) if kind is Option else {}
    for field in dataclasses.fields(record):
        about = field.metadata.get(KEY)
        if isinstance(about, kind):
            yield Described(field.name, hints.get(field.name, field.type), field.default, about)


def dimensions(record: type, array: Described[Array], held: Container[str]) -> tuple[str, ...]:
    """The dimensions of an array in a result that holds these fields, without those whose coordinate is left out."""
    coordinates = (field for field in described(record, Array) if field.about.dims == (field.name,))
    absent = {field.name for field in coordinates if field.default is None and field.name not in held}
    return tuple(dimension for dimension in array.about.dims if dimension not in absent)


def choices(hint: Any) -> tuple[str, ...]:
    """The words that a `Literal` admits; empty for any other type."""
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def required(hint: Any) -> Any:
    """`T` of `T | None`, else the type itself."""
    if typing.get_origin(hint) in (UnionType, typing.Union):  # the second for a Literal
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def flag(name: str) -> str:
    """The flag of a field: `max_basis` is `--max-basis`, and `from_`, which Python could not call so, is `--from`."""
    return "--" + name.rstrip("_").replace("_", "-")


def validate(options: Any) -> None:
    """Raises UsageError for the first option outside its range or its words."""
    for field in described(type(options), Option):
        value = getattr(options, field.name)
        if value is not None:
            _check(field, value)


def _check(field: Described[Option], value: Any) -> None:
    words = choices(required(field.type))
    if words and value not in words:
        raise UsageError(f"{flag(field.name)} is {value!r}", fix=f"one of {', '.join(words)}")
    low, high = field.about.min, field.about.max
    if low is None and high is None:
        return
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        bounds = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
        raise UsageError(f"{flag(field.name)} is {value}", fix=f"a number {' and '.join(filter(None, bounds))}")
