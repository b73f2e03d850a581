"""Command-line flags derived from dataclass fields: an option is written once, in the dataclass."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from landscape.errors import UsageError
from landscape.fields import Described, Option, described_fields, flag, literal_values, without_none
from landscape_cli.settings_values import split_numbers

ENVIRONMENT = "LANDSCAPE_"
SOURCES = {"COMMANDLINE": "a flag", "ENVIRONMENT": "the environment"}  # of a value, by typer's name
T = TypeVar("T")


def with_signature(invoke: Callable[..., T], *parameters: inspect.Parameter) -> Callable[..., T]:
    """The function with these parameters in its signature, from which typer derives the command line."""
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return invoke


def argument(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter that is no field of a dataclass."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


CONTEXT = argument("context", typer.Context)
CHECKPOINTS_ARGUMENT = argument(
    "checkpoints",
    Annotated[list[Path] | None, typer.Argument(metavar="CHECKPOINT", help="Checkpoint files.", show_default=False)],
    None,
)


def parameters(
    fields: typing.Iterable[Described[Option]],
    panel: str,
    *,
    environment: bool = True,
    taken: typing.Container[str] = (),
) -> list[inspect.Parameter]:
    """The typer options of several fields, in one panel of the help; `taken` are names of other options."""
    return [parameter(field, panel, environment=environment, taken=taken) for field in fields]


def parameter(
    field: Described[Option], panel: str, *, environment: bool = True, taken: typing.Container[str] = ()
) -> inspect.Parameter:
    """The typer option of one field; its values are validated by the dataclass itself."""
    about = field.about
    public = environment and not about.typed
    usual = "" if about.usual is None else f"  [default: {about.usual}]"
    default: Any = list(field.default) if isinstance(field.default, tuple) else field.default
    details = typer.Option(
        *_flags(field),
        help=about.help + usual,
        metavar="|".join(literal_values(without_none(field.type))) or metavar(field),
        envvar=[ENVIRONMENT + n.upper() for n in (field.name, *about.aliases) if n not in taken] if public else None,
        show_envvar=False,
        rich_help_panel=panel,
        show_default=not isinstance(default, bool) and default not in (None, []),
    )
    hint = _typer_type(field.type)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[hint, details], default=default
    )


def metavar(field: Described[Option]) -> str | None:
    """The placeholder of the value in the help: N, X, KEY=VALUE, NAME=DATA or the option's name."""
    by_type: dict[Any, str | None] = {bool: None, int: "N", float: "X", tuple[float, ...]: "X[,X...]"}
    by_kind = {"pairs": "KEY=VALUE", "named-references": "NAME=DATA"}
    named = by_kind.get(field.about.kind, field.name.rstrip("_").upper())
    return by_type.get(without_none(field.type), named)


def build_record(record: type, values: Mapping[str, Any]) -> Any:
    """The dataclass of options from the values of the command line; raises UsageError for a value out of range."""
    fields = list(described_fields(record, Option))
    return record(**{field.name: _as_field_type(field, values[field.name]) for field in fields})


def value_origins(context: typer.Context) -> dict[str, str]:
    """Where each parameter's value came from: a flag, the environment or the settings file; not the defaults."""
    file = getattr(context.obj, "path", None)
    words = {**SOURCES, "DEFAULT_MAP": file.name if file else "the settings"}
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: words[source.name] for name, source in sources.items() if source is not None and source.name in words}


def _flags(field: Described[Option]) -> list[str]:
    """The spellings of an option: `--plot/--no-plot` if it may be on by default, and a short one if it has one."""
    long = flag(field.name)
    if field.default is True or (without_none(field.type) is bool and field.default is None):
        long = f"{long}/--no-{long[2:]}"
    return [long, *([f"-{field.about.short}"] if field.about.short else [])]


def _as_field_type(field: Described[Option], value: Any) -> Any:
    """The value of a flag; a repeatable one gives a list of words, whose numbers may also be joined by commas."""
    if not isinstance(value, list):
        return value
    if typing.get_args(without_none(field.type))[0] is not float:
        return tuple(value)
    try:
        return tuple(float(number) for number in split_numbers(value))
    except ValueError:
        example = f"{flag(field.name)} 0.1 {flag(field.name)} 0.2, or {flag(field.name)} 0.1,0.2"
        raise UsageError(f"{flag(field.name)} {' '.join(map(str, value))} is not a number", fix=example) from None


def _typer_type(hint: Any) -> Any:
    """The type for typer: the dataclass checks the words of a `Literal` itself, and tuples are repeatable flags."""
    inner = without_none(hint)
    if literal_values(inner):
        return str
    return list[str] | None if typing.get_origin(inner) is tuple else hint
