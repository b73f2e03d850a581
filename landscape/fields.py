"""Dataclass fields that describe themselves: options of an analysis, scalars and arrays of its result.

The command line, settings, validation, titles, HDF5 and JSON are derived from these descriptions.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from abc import ABCMeta
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from landscape.errors import UsageError

T = TypeVar("T")
ERROR_SUFFIX = "_se"  # what the name of a standard error ends with
METADATA_KEY = "landscape"  # of a field's description in the metadata of dataclasses


# What an option's text stands for: a file or folder; a model, data set, loss or metric by name or in a file; KEY=VALUE
# arguments; NAME=DATA, where the data are a reference. Paths in settings are relative to the settings file.
TextKind = Literal["text", "path", "reference", "pairs", "named-references"]
Title = Callable[[Mapping[str, Any]], str]  # the title's words from all stored options of the analysis


@dataclass(frozen=True)
class Option:
    """A choice of the user: its help, its closed range, and how the command line, settings and titles treat it."""

    help: str
    min: float | None = None
    max: float | None = None
    short: str | None = None
    identity: bool = True  # False: changing it does not change what is measured
    typed: bool = False  # True: it counts only as a flag, not from settings or the environment
    shared: bool = False  # True: settings may also give it outside the command's table, for all commands that have it
    kind: TextKind = "text"
    title: bool | str | Title = False  # True: the value; a template: "m {}"; a function of all stored options
    usual: Any = None  # the value that None stands for, where it is always the same: printed as the default
    aliases: tuple[str, ...] = ()  # earlier names of the option, accepted everywhere and shown nowhere
    value_aliases: Mapping[str, str] | None = None  # earlier spellings of values, and the present ones
    stored: str = ""  # its name in results files, where that is an earlier one: files do not change with a renaming


@dataclass(frozen=True)
class Gauge:
    """How to compare a number with an earlier one: the names of fields of the same result.

    `error` is the field with the number's standard error or bound, `draws` that with the values whose mean it is (one
    for each random vector), `floor` that with the smallest difference beyond rounding, and `rtol` that with the
    requested relative half-width. `advice` is a sentence for users who would gate on the number. `by_samples` says that
    the error is by the choice of the samples alone, which measurements of the same data share: gates leave it out.
    `data_error` is the field with such an error beside that of the method.
    """

    error: str = ""
    draws: str = ""
    floor: str = ""
    rtol: str = ""
    advice: str = ""
    by_samples: bool = False
    data_error: str = ""


@dataclass(frozen=True)
class Scalar:
    """One number of a result."""

    help: str
    unit: str = "1"
    optional: bool = False
    gauge: Gauge | None = None
    percent: bool = False  # a share, which tables print in percent
    label: str = ""  # what tables call it, where its name is no term of the field


@dataclass(frozen=True)
class Array:
    """An array of a result, with the names of its dimensions, outermost first.

    Its entries are numbers, or `words`. A dimension may have its coordinates in an optional array of the same name; a
    result without these coordinates has no such dimension. A `detail` is left out of tables that are too wide for the
    terminal, and a share is printed in `percent`.
    """

    dims: tuple[str, ...]
    help: str
    unit: str = "1"
    words: bool = False
    detail: bool = False
    gauge: Gauge | None = None
    percent: bool = False
    label: str = ""


def option(
    default: Any,
    *,
    help: str,
    min: float | None = None,
    max: float | None = None,
    short: str | None = None,
    identity: bool = True,
    typed: bool = False,
    shared: bool = False,
    kind: TextKind = "text",
    title: bool | str | Title = False,
    usual: Any = None,
    aliases: tuple[str, ...] = (),
    value_aliases: Mapping[str, str] | None = None,
    stored: str = "",
) -> Any:
    """A field that becomes a command-line flag; `Option` describes the arguments."""
    described = Option(
        help=help,
        min=min,
        max=max,
        short=short,
        identity=identity,
        typed=typed,
        shared=shared,
        kind=kind,
        title=title,
        usual=usual,
        aliases=aliases,
        value_aliases=value_aliases,
        stored=stored,
    )
    return dataclasses.field(default=default, metadata={METADATA_KEY: described})


def scalar(
    help: str,
    unit: str = "1",
    *,
    optional: bool = False,
    gauge: Gauge | None = None,
    kw_only: bool = False,
    percent: bool = False,
    label: str = "",
) -> Any:
    """A field that holds one number of a result; an optional one may be None and is then not stored.

    One that is an argument by keyword alone may be optional before fields that are not.
    """
    described = {
        METADATA_KEY: Scalar(help=help, unit=unit, optional=optional, gauge=gauge, percent=percent, label=label)
    }
    keyword: dict[str, Any] = {"kw_only": True} if kw_only else {}  # else as the dataclass has it
    if optional:
        return dataclasses.field(default=None, metadata=described, **keyword)
    return dataclasses.field(metadata=described, **keyword)


def array(
    *dims: str,
    help: str,
    unit: str = "1",
    optional: bool = False,
    words: bool = False,
    detail: bool = False,
    gauge: Gauge | None = None,
    percent: bool = False,
    label: str = "",
) -> Any:
    """A field that holds an array of a result; an optional one may be None and is then not stored."""
    about = Array(dims, help, unit, words=words, detail=detail, gauge=gauge, percent=percent, label=label)
    described = {METADATA_KEY: about}
    return dataclasses.field(default=None, metadata=described) if optional else dataclasses.field(metadata=described)


@dataclass(frozen=True)
class Described(Generic[T]):
    """A field's name, type, default and description."""

    name: str
    type: Any
    default: Any
    about: T


def stored_name(field: Described[Option]) -> str:
    """The name under which results files keep an option."""
    return field.about.stored or field.name


def title_parts(record: type, stored: Mapping[str, Any]) -> list[str]:
    """The parts of a title that stored options give: of options with a `title` that differ from their defaults."""
    return [words for field in own_first(record) if (words := _title_part(field, stored))]


def _title_part(field: Described[Option], stored: Mapping[str, Any]) -> str:
    """The part of a title that one option gives; empty if it gives none."""
    wanted, name = field.about.title, stored_name(field)
    value = stored.get(name)
    if not wanted or name not in stored:
        return ""
    if callable(wanted):
        return wanted(stored)
    if not value or value == field.default:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return wanted.format(text) if isinstance(wanted, str) else text


def own_first(record: type) -> list[Described[Option]]:
    """The options of a dataclass: those that it declares itself, then those that it inherits."""
    own = inspect.get_annotations(record)
    return sorted(described_fields(record, Option), key=lambda field: field.name not in own)


class OptionsMeta(ABCMeta):
    """The type of dataclasses of options: they also accept earlier names and values as keyword arguments."""

    if not TYPE_CHECKING:  # a type checker sees the present names alone

        def __call__(cls, *arguments: Any, **named: Any) -> Any:
            return super().__call__(*arguments, **translate_aliases(cls, named))


class Options(metaclass=OptionsMeta):
    """Base class of frozen dataclasses whose fields are options."""


def translate_aliases(record: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with earlier names and spellings replaced by the present ones.

    Raises UsageError if an option is given by its earlier name and its present one.
    """
    abouts = {
        f.name: about for f in dataclasses.fields(record) if isinstance(about := f.metadata.get(METADATA_KEY), Option)
    }
    names = {alias: name for name, about in abouts.items() for alias in about.aliases}
    translated: dict[str, Any] = {}
    for spelling, value in values.items():
        name = names.get(spelling, spelling)
        if name in translated or (spelling != name and name in values):
            raise UsageError(f"{name} is given twice, once as {spelling}", fix=f"{flag(name)} alone")
        translated[name] = _current_value(abouts[name].value_aliases, value) if name in abouts else value
    return translated


def _current_value(aliases: Mapping[str, str] | None, value: Any) -> Any:
    """The present spelling of a value, or of each element of a list."""
    if isinstance(value, list | tuple):
        return type(value)(_current_value(aliases, part) for part in value)
    return aliases.get(value, value) if aliases and isinstance(value, str) else value


def described_fields(record: type, kind: type[T]) -> Iterator[Described[T]]:
    """The fields of the dataclass `record` whose description is of the given kind, in order."""
    key: Any = kind  # mypy takes no type variable for hashable
    return iter(_described_fields(record, key))


@cache
def _described_fields(record: type, kind: Any) -> tuple[Described[Any], ...]:
    """The same as a tuple; kept, since the types of options are evaluated from their annotations' text."""
    hints = typing.get_type_hints(record) if kind is Option else {}
    fields = [(field, field.metadata.get(METADATA_KEY)) for field in dataclasses.fields(record)]
    return tuple(
        Described(field.name, hints.get(field.name, field.type), field.default, about)
        for field, about in fields
        if isinstance(about, kind)
    )


def dimensions(record: type, array: Described[Array], held: Container[str]) -> tuple[str, ...]:
    """The dimensions of an array in a result with the fields `held`, without those whose coordinates it lacks."""
    coordinates = (field for field in described_fields(record, Array) if field.about.dims == (field.name,))
    absent = {field.name for field in coordinates if field.default is None and field.name not in held}
    return tuple(dimension for dimension in array.about.dims if dimension not in absent)


def number_fields(kind: type) -> dict[str, Scalar | Array]:
    """The fields of a result that hold numbers, by name; coordinates of arrays are not among them."""
    fields: dict[str, Scalar | Array] = {field.name: field.about for field in described_fields(kind, Scalar)}
    for field in described_fields(kind, Array):
        if not field.about.words and field.about.dims != (field.name,):
            fields[field.name] = field.about
    return fields


def gauge_of(kind: type, field: str) -> Gauge:
    """The gauge of a number; without one of its own, a field with `_se` after its name is its standard error."""
    fields = number_fields(kind)
    return fields[field].gauge or Gauge(error=field + ERROR_SUFFIX if field + ERROR_SUFFIX in fields else "")


def literal_values(hint: Any) -> tuple[str, ...]:
    """The values of a `Literal`; empty for any other type."""
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def without_none(hint: Any) -> Any:
    """`T` of `T | None`, else the type itself."""
    if typing.get_origin(hint) in (UnionType, typing.Union):  # the second for a Literal
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def flag(name: str) -> str:
    """The flag of a field: `--max-basis` for `max_basis`, and `--from` for `from_`, since Python reserves `from`.

    >>> flag("max_basis"), flag("from_")
    ('--max-basis', '--from')
    """
    return "--" + name.rstrip("_").replace("_", "-")


def validate(options: Any) -> None:
    """Raises UsageError for the first option outside its range or its choices."""
    for field in described_fields(type(options), Option):
        value = getattr(options, field.name)
        if value is not None:
            _check(field, value)


def _check(field: Described[Option], value: Any) -> None:
    words = literal_values(without_none(field.type))
    if words and value not in words:
        raise UsageError(f"{flag(field.name)} is {value!r}", fix=f"one of {', '.join(words)}")
    low, high = field.about.min, field.about.max
    if low is None and high is None:
        return
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        bounds = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
        raise UsageError(f"{flag(field.name)} is {value}", fix=f"a number {' and '.join(filter(None, bounds))}")
