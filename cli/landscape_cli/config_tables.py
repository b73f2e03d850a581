"""The tables of a settings file: which options each may hold, and their values made independent of the folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from landscape.analyses import ANALYSES
from landscape.conditions import DATA_FILES, HUGGING_FACE, TEXT_FILES, Conditions
from landscape.errors import UsageError, suggest
from landscape.fields import Described, Option, described_fields, flag, translate_aliases, without_none
from landscape_cli.gate import CHECK, METRIC_TABLE, Gate
from landscape_cli.output import Writing
from landscape_cli.track import TRACK, Tracking

CHECKPOINT = "checkpoint"  # a setting that stands for a command's arguments, not for an option
WRITTEN = frozenset(field.name for field in described_fields(Writing, Option))  # options of one call: none for settings


@dataclass(frozen=True)
class Table:
    """A table of the settings file `path`: its name in messages, and the dataclasses whose options it may hold."""

    path: Path
    name: str
    kinds: tuple[type, ...]

    def options(self) -> dict[str, Described[Option]]:
        """The options that the table may hold, by name; those that only count as flags are among them."""
        return {f.name: f for kind in self.kinds for f in described_fields(kind, Option) if f.name not in WRITTEN}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values by the options' present names, with files found from anywhere; UsageError for an unknown key."""
        options = self.options()
        for kind in self.kinds:  # an earlier name may be the present one of another option in the table
            earlier = {alias for field in described_fields(kind, Option) for alias in field.about.aliases}
            held = {name: value for name, value in values.items() if name in options and name in earlier}
            values = translate_aliases(kind, {n: v for n, v in values.items() if n not in held}) | held
        known = {name for name, field in options.items() if not field.about.typed}
        for key in values:
            if key not in known:
                refuse_flag_only(self.path, key, options.values())
                raise UsageError(
                    f"{self.path}: [{self.name}] has no setting {suggest(key, known)}",
                    fix=f"one of {', '.join(sorted(known))}",
                )
        return {key: locate(self.path.parent, options[key], value) for key, value in values.items()}


def read_tables(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file, checked and with files found from anywhere; raises UsageError for what is wrong."""
    shared = _top_level_options()
    tables = {name for name, field in shared.items() if field.about.kind in ("pairs", "named-references")}
    options = {key: value for key, value in values.items() if not isinstance(value, dict) or key in tables}
    settings = _read_top_level(path, options, shared)
    for name, table in values.items():
        if name not in options:
            settings[name] = _read_check(path, table) if name == CHECK else _read_command(path, name, table)
    return settings


def refuse_flag_only(path: Path, key: str, options: Iterable[Described[Option]]) -> None:
    """Raises UsageError if the key is an option that only counts as a flag."""
    if any(field.name == key and field.about.typed for field in options):
        raise UsageError(f"{path}: {key} is not taken from settings", fix=f"type {flag(key)} where it is meant")


def locate(folder: Path, field: Described[Option], value: Any) -> Any:
    """The value of an option with files found from anywhere, and a single word made a list where one is meant."""
    several = get_origin(without_none(field.type)) is tuple
    match field.about.kind:
        case "named-references":
            return _references_by_name(folder, value)
        case "pairs" if isinstance(value, dict):
            return [f"{name}={argument!r}" for name, argument in value.items()]
        case "reference" if isinstance(value, str):
            return _reference(folder, value)
        case "path" if several:
            return _paths(folder, value)
        case "path" if not isinstance(value, str):
            raise UsageError(f"{folder}: the setting {field.name} is {value!r}", fix="the name of one file")
        case "path":
            return str(folder / value)
    return [value] if several and not isinstance(value, list) else value


def _top_level_options() -> dict[str, Described[Option]]:
    """The options that stand outside all tables: of every command, or of all that have them."""
    own = {f.name: f for analysis in ANALYSES for f in described_fields(analysis, Option) if f.about.shared}
    return own | {field.name: field for field in described_fields(Conditions, Option)}


def _read_top_level(path: Path, values: Mapping[str, Any], shared: Mapping[str, Described[Option]]) -> dict[str, Any]:
    """The settings outside all tables."""
    known = {name for name, field in shared.items() if not field.about.typed} | {CHECKPOINT}
    homes: dict[str, list[str]] = {}
    for analysis in ANALYSES:
        for field in described_fields(analysis, Option):
            for name in (field.name, *field.about.aliases):
                homes.setdefault(name, []).append(f"[{analysis.name}]")
    settings: dict[str, Any] = {}
    for key, value in translate_aliases(Conditions, values).items():
        if key == CHECKPOINT:
            settings[key] = _paths(path.parent, value)
        elif key in known:
            settings[key] = locate(path.parent, shared[key], value)
        elif key in homes:
            raise UsageError(
                f"{path}: the setting {key} belongs to a command", fix=f"put it below a line {' or '.join(homes[key])}"
            )
        else:
            refuse_flag_only(path, key, shared.values())
            listed = sorted(known - {name for name, field in shared.items() if field.about.shared})
            raise UsageError(f"{path}: there is no setting {suggest(key, listed)}", fix=f"one of {', '.join(listed)}")
    return settings


def _read_command(path: Path, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a command that measures."""
    commands: dict[str, type] = {**{analysis.name: analysis for analysis in ANALYSES}, TRACK: Tracking}
    if name not in commands:
        known = [*commands, CHECK]
        raise UsageError(f"{path}: there is no command {suggest(name, known)}", fix=f"one of {', '.join(known)}")
    return Table(path, name, (commands[name], Conditions)).read(table)


def _read_check(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table of the gate, with its own tables."""
    if not isinstance(table.get(METRIC_TABLE, {}), dict):
        raise UsageError(
            f"{path}: [check] {METRIC_TABLE} is not a table", fix='[check.metrics], then "eig.loss" = "2%"'
        )
    own = Table(path, CHECK, (Gate, Conditions))
    texts = {name for name, field in own.options().items() if field.about.kind == "pairs"}
    inner = {key: value for key, value in table.items() if isinstance(value, dict) and key not in texts}
    settings = own.read({key: value for key, value in table.items() if key not in inner})
    analyses = {analysis.name: analysis for analysis in ANALYSES}
    for key, value in inner.items():
        if key == METRIC_TABLE:  # the policy reads it
            settings[key] = value
        elif key in analyses:
            settings[key] = Table(path, f"{CHECK}.{key}", (analyses[key],)).read(value)
        else:
            tables = [METRIC_TABLE, *analyses]
            raise UsageError(
                f"{path}: [{CHECK}] has no table {suggest(key, tables)}", fix=f"one of {', '.join(sorted(tables))}"
            )
    return settings


def _paths(folder: Path, value: Any) -> list[str]:
    """One path or several, found from anywhere."""
    paths = value if isinstance(value, list) else [value]
    return [str(folder / str(path)) for path in paths]


def _reference(folder: Path, value: str) -> str:
    """A model, data set or loss by name, or one in a file, which is then found from anywhere."""
    if value.startswith(HUGGING_FACE):
        return HUGGING_FACE + str(folder / value.removeprefix(HUGGING_FACE))
    return str(folder / value) if ".py:" in value or value.endswith((*DATA_FILES, *TEXT_FILES)) else value


def _references_by_name(folder: Path, value: Any) -> list[str]:
    """NAME=DATA for each, from a table or a list, with files found from anywhere."""
    several = value if isinstance(value, list) else [value]
    pairs = value.items() if isinstance(value, dict) else [str(word).partition("=")[::2] for word in several]
    return [f"{name}={_reference(folder, str(data))}" for name, data in pairs]
