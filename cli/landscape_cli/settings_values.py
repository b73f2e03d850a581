"""Values of settings, read with the types of the options' own fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from landscape.errors import UsageError
from landscape.fields import Described, Option, described_fields, flag, translate_aliases, without_none

WHOLE_NUMBER, NUMBER = "a whole number", "a number"


def record_from_settings(record: type, table: Mapping[str, Any], where: str = "the settings") -> Any:
    """The dataclass of options with the values of a settings' table, and no values of flags or the environment.

    Raises UsageError for a value of the wrong type, with the place `where` it was.
    """
    fields = {field.name: field for field in described_fields(record, Option)}
    values = translate_aliases(record, table)
    return record(**{name: parse_setting(fields[name], value, where) for name, value in values.items()})


def parse_setting(field: Described[Option], value: Any, where: str) -> Any:
    """The value of one option; a repeatable option takes one value or a list."""
    kind = without_none(field.type)
    if get_origin(kind) is tuple:
        several = value if isinstance(value, list | tuple) else [value]
        words = split_numbers(several) if get_args(kind)[0] is float else several
        return tuple(_parse(field, get_args(kind)[0], word, where) for word in words)
    return _parse(field, kind, value, where)


def split_numbers(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Numbers that are joined by commas, one by one: `["0.1,0.2", 0.3]` becomes `["0.1", "0.2", 0.3]`."""
    return [word for value in values for word in (value.split(",") if isinstance(value, str) else [value])]


def _parse(field: Described[Option], kind: Any, value: Any, where: str) -> Any:
    """One value as a bool, a number or text; words of a `Literal` are text."""
    if isinstance(value, dict | list | tuple) or (kind is bool) != isinstance(value, bool):
        expected = "true or false" if kind is bool else "one value"
        raise UsageError(
            f"{where}: {field.name} is {value!r}, not {expected}",
            fix=f"what {flag(field.name)} takes: {field.about.help}",
        )
    if kind not in (int, float):
        return value if kind is bool else str(value)
    try:
        if kind is int and isinstance(value, float):
            raise ValueError
        return kind(value)
    except ValueError:
        expected = WHOLE_NUMBER if kind is int else NUMBER
        raise UsageError(
            f"{where}: {field.name} is {value!r}, not {expected}",
            fix=f"what {flag(field.name)} takes: {field.about.help}",
        ) from None
