"""Command-line flags derived from dataclass fields: an option is written once, in the analysis."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from landscape.analyses import Analysis
from landscape.conditions import Conditions
from landscape.errors import UsageError
from landscape.fields import Described, Option, described_fields, flag, literal_values, own_first, without_none
from landscape.plugins import imports
from landscape_cli import config
from landscape_cli.measure import measure, say
from landscape_cli.output import Output

ENVIRONMENT = "LANDSCAPE_"
T = TypeVar("T")


def command(analysis: type[Analysis]) -> Callable[..., int]:
    """The function behind `landscape <analysis>`: its signature has the fields of the analysis and what all share."""

    def invoke(context: typer.Context, checkpoints: list[Path] | None, **values: Any) -> int:
        if context.obj.path:  # modules that settings name are found from below their folder too
            imports.append_import_folder(context.obj.path.parent)
        for path in checkpoints or []:
            if (unread := config.beside(path, context.obj)) is not None:
                say(f"{path.name}: {unread} is not read, since a download could carry one; --config {unread} reads it")
        return measure(
            list(checkpoints or []),
            record(analysis, values),
            record(Conditions, values),
            record(Output, values),
            origins(context),
        )

    return shaped(
        invoke,
        argument("context", typer.Context),
        CHECKPOINTS,
        *(parameter(field, "Measurement") for field in own_first(analysis)),
        *(parameter(field, "Conditions") for field in described_fields(Conditions, Option)),
        *(parameter(field, "Output") for field in described_fields(Output, Option)),
    )


def shaped(invoke: Callable[..., T], *parameters: inspect.Parameter) -> Callable[..., T]:
    """The function with these parameters in its signature, from which typer derives the command line."""
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {p.name: p.annotation for p in parameters}
    return invoke


def argument(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter that is no field of a dataclass."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


CHECKPOINTS = argument(
    "checkpoints",
    Annotated[list[Path] | None, typer.Argument(metavar="CHECKPOINT", help="Checkpoint files.", show_default=False)],
    None,
)


def parameter(field: Described[Option], panel: str, *, environment: bool = True) -> inspect.Parameter:
    """The typer option of one field; its values are validated by the dataclass itself."""
    names = [flag(field.name)]
    if isinstance(field.default, bool):
        names = [f"{names[0]}/--no-{names[0][2:]}"] if field.default else names
    if field.about.short:
        names.append(f"-{field.about.short}")
    words = literal_values(without_none(field.type))
    default: Any = list(field.default) if isinstance(field.default, tuple) else field.default
    public = environment and not field.about.typed
    usual = "" if field.about.usual is None else f"  [default: {field.about.usual}]"
    details = typer.Option(
        *names,
        help=field.about.help + usual,
        metavar="|".join(words) or metavar(field),
        envvar=[ENVIRONMENT + name.upper() for name in (field.name, *field.about.aliases)] if public else None,
        show_envvar=False,
        rich_help_panel=panel,
        show_default=not isinstance(default, bool) and default not in (None, []),
    )
    hint = _hint(field.type)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[hint, details], default=default
    )


def metavar(field: Described[Option]) -> str | None:
    """The placeholder of the value in the help: N, X, KEY=VALUE, NAME=DATA or the option's name."""
    kinds: dict[Any, str | None] = {bool: None, int: "N", float: "X", tuple[float, ...]: "X[,X...]"}
    named = {"pairs": "KEY=VALUE", "named-references": "NAME=DATA"}.get(field.about.kind)
    return kinds.get(without_none(field.type), named or field.name.rstrip("_").upper())


def record(kind: type, values: Mapping[str, Any]) -> Any:
    """The dataclass `kind` from the values of the command line; raises UsageError for a value out of range."""
    chosen = {f.name: values[f.name] for f in described_fields(kind, Option)}
    lists = {f.name: f for f in described_fields(kind, Option) if isinstance(chosen[f.name], list)}
    return kind(**chosen | {name: _items(field, chosen[name]) for name, field in lists.items()})


def _items(field: Described[Option], words: list[str]) -> tuple[Any, ...]:
    """The values of a repeatable flag; numbers may also be joined by commas."""
    if typing.get_args(without_none(field.type))[0] is not float:
        return tuple(words)
    try:
        return tuple(float(number) for word in words for number in str(word).split(","))
    except ValueError:
        example = f"{flag(field.name)} 0.1 {flag(field.name)} 0.2, or {flag(field.name)} 0.1,0.2"
        raise UsageError(f"{flag(field.name)} {' '.join(map(str, words))} is not a number", fix=example) from None


def configured(kind: type, table: Mapping[str, Any], where: str = "the settings") -> Any:
    """The dataclass `kind` with the options of a settings' table, and none from flags or the environment.

    Raises UsageError, which says `where` it was.
    """
    fields = {field.name: field for field in described_fields(kind, Option)}
    chosen: dict[str, Any] = {name: field.default for name, field in fields.items()}
    words: dict[str, list[str]] = {}
    for name, value in table.items():
        several, given = typing.get_origin(without_none(fields[name].type)) is tuple, isinstance(value, list | tuple)
        if (without_none(fields[name].type) is bool) != isinstance(value, bool) or (given and not several):
            raise UsageError(f"{where}: {name} is {value!r}", fix=f"what {flag(name)} takes: {fields[name].about.help}")
        if isinstance(value, bool) or value in ([], ()):
            chosen[name] = value if isinstance(value, bool) else ()
        else:
            words[name] = [f"{flag(name)}={one}" for one in (value if given else [value])]
    chosen |= _parsed([fields[name] for name in words], [word for every in words.values() for word in every], where)
    return record(kind, chosen)


def _parsed(fields: list[Described[Option]], words: list[str], where: str) -> dict[str, Any]:
    """The values of the fields that these words give on a command line of these flags alone."""

    def unused(**values: Any) -> None: ...

    app = typer.Typer(add_completion=False)
    app.command()(shaped(unused, *(parameter(field, "", environment=False) for field in fields)))
    try:
        parsed = typer.main.get_command(app).make_context("settings", words).params
    except typer.BadParameter as error:
        raise UsageError(f"{where}: {error.format_message()}", fix="landscape COMMAND --help has the option") from None
    return {field.name: parsed[field.name] for field in fields}


def origins(context: typer.Context) -> dict[str, str]:
    """Where each parameter's value came from, in the user's words."""
    file = getattr(context.obj, "path", None)
    words = {
        "COMMANDLINE": "a flag",
        "ENVIRONMENT": "the environment",
        "DEFAULT_MAP": f"{file.name}" if file else "the settings",
    }
    found = {}
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name in words:
            found[name] = words[source.name]
    return found


def _hint(hint: Any) -> Any:
    """The type that typer is told: words are checked by the dataclass, tuples are repeatable flags."""
    inner = without_none(hint)
    if literal_values(inner):
        return str
    if typing.get_origin(inner) is tuple:
        return list[str] | None
    return hint
