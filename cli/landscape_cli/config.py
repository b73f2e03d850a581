"""Settings from `landscape.toml` or `[tool.landscape]` in pyproject.toml, searched upward from the working directory.

Never from the checkpoint's folder: a download could carry one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from landscape.analyses import ANALYSES
from landscape.conditions import DATA_FILES, HUGGING_FACE, Conditions
from landscape.errors import UsageError, nearest
from landscape.fields import Option, described, flag
from landscape_cli.gate import METRIC_TABLE, Gate
from landscape_cli.output import Writing

NAMES = ("landscape.toml", "pyproject.toml")
ARGUMENTS = ("model_arg", "data_arg")  # a table or a list of key=value
POPULATION = "population"  # a table of data by name, or a list of NAME=DATA
REFERENCES = ("model", "data", "loss", "metric")  # may name a file, which is then relative to the settings' folder
FILES = ("preconditioner", "towards", "trajectory", "baseline")  # name a file or folder
CHECK = "check"  # the table of the gate's policy; its own tables are those of the analyses, and of metrics


@dataclass(frozen=True)
class Settings:
    """Values by key, and the file they came from (None: no file)."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def defaults(self, command: str) -> dict[str, Any]:
        """What the settings say about the options of a command, under click's parameter names."""
        shared = {key: value for key, value in self.values.items() if not isinstance(value, dict)}
        merged = {**shared, **self.values.get(command, {})}
        return {"checkpoints" if key == "checkpoint" else key: value for key, value in merged.items()}

    def table(self, *names: str) -> Mapping[str, Any]:
        """A table within tables; empty if it is not there."""
        found: Any = self.values
        for name in names:
            found = found.get(name, {})
        return dict(found)

    def checkpoint(self) -> Path | None:
        """The first checkpoint that the settings name."""
        named = self.values.get("checkpoint")
        return Path(named[0]) if named else None


def find(named: str | None = None, start: Path | None = None) -> Settings:
    """The settings of the file that the user named, or of the nearest one upward; raises UsageError if it is wrong.

    It is searched from `start`, by default the working directory.
    """
    if named is not None:
        return _read(Path(named))
    here = start or Path.cwd()
    for folder in (here, *here.parents):
        for name in NAMES:
            candidate = folder / name
            if candidate.is_file() and (settings := _read(candidate)).values:
                return settings
    return Settings()


def _read(path: Path) -> Settings:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"settings {path} cannot be read: {error.strerror}", fix="--config FILE names a TOML file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"settings {path} is not TOML: {error}", fix="mend that line") from error
    tool = document.get("tool", {}) if path.name == "pyproject.toml" else {"landscape": document}
    table = tool.get("landscape", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.landscape] is not a table", fix="[tool.landscape] on a line of its own")
    values = _renamed(table)
    known = {f.name for f in described(Conditions, Option) if not f.about.typed} | {"checkpoint"}
    homes: dict[str, list[str]] = {}
    for analysis in ANALYSES:
        for about in described(analysis, Option):
            homes.setdefault(about.name, []).append(f"[{analysis.name}]")
    for key, value in values.items():
        if key == POPULATION:  # shared, though only some commands measure any
            continue
        if isinstance(value, dict) and key not in ARGUMENTS:
            _check_table(path, key, value)
        elif key in homes:
            raise UsageError(
                f"{path}: the setting {key} belongs to a command", fix=f"put it below a line {' or '.join(homes[key])}"
            )
        elif key not in known:
            _refuse_typed(path, key)
            raise UsageError(
                f"{path}: there is no setting {nearest(key, known)}", fix=f"one of {', '.join(sorted(known))}"
            )
    return Settings(path, _located(path.parent, values))


def _check_table(path: Path, name: str, table: Mapping[str, Any]) -> None:
    kinds: dict[str, tuple[type, ...]] = {analysis.name: (analysis, Conditions) for analysis in ANALYSES}
    kinds[CHECK] = (Gate, Conditions)
    if name not in kinds:
        raise UsageError(f"{path}: there is no command {nearest(name, kinds)}", fix=f"one of {', '.join(kinds)}")
    if name == CHECK and METRIC_TABLE in table and not isinstance(table[METRIC_TABLE], dict):
        raise UsageError(
            f"{path}: [check] {METRIC_TABLE} is not a table", fix='[check.metrics], then "eig.loss" = "2%"'
        )
    if name != CHECK:
        _check_keys(path, name, table, kinds[name])
        return
    inner = {key: value for key, value in table.items() if isinstance(value, dict) and key not in ARGUMENTS}
    _check_keys(path, name, {key: value for key, value in table.items() if key not in inner}, kinds[CHECK])
    for key, value in inner.items():
        if key != METRIC_TABLE and key not in kinds.keys() - {CHECK}:
            tables = [METRIC_TABLE, *kinds.keys() - {CHECK}]
            raise UsageError(
                f"{path}: [{name}] has no table {nearest(key, tables)}", fix=f"one of {', '.join(sorted(tables))}"
            )
        if key != METRIC_TABLE:  # which is read by the policy
            _check_keys(path, f"{name}.{key}", value, kinds[key][:1])


def _check_keys(path: Path, name: str, table: Mapping[str, Any], kinds: tuple[type, ...]) -> None:
    """Raises UsageError for a key that none of the kinds has as an option, or that is taken as a flag only."""
    written = {f.name for f in described(Writing, Option)}
    options = [f for kind in kinds for f in described(kind, Option) if f.name not in written]
    known = {f.name for f in options if not f.about.typed}
    for key in table:
        if key not in known:
            _refuse_typed(path, key, kinds)
            raise UsageError(
                f"{path}: [{name}] has no setting {nearest(key, known)}", fix=f"one of {', '.join(sorted(known))}"
            )


def _refuse_typed(path: Path, key: str, kinds: tuple[type, ...] = (Conditions,)) -> None:
    if any(f.name == key and f.about.typed for kind in kinds for f in described(kind, Option)):
        raise UsageError(f"{path}: {key} is not taken from settings", fix=f"type {flag(key)} where it is meant")


def _reference(folder: Path, value: str) -> str:
    """A model, data set or loss by name, or one in a file, which is then found from anywhere."""
    if value.startswith(HUGGING_FACE):
        return HUGGING_FACE + str(folder / value.removeprefix(HUGGING_FACE))
    return str(folder / value) if ".py:" in value or value.endswith(DATA_FILES) else value


def _populations(folder: Path, value: Any) -> list[str]:
    """NAME=DATA, with files found from anywhere."""
    several = value if isinstance(value, list) else [value]
    pairs = value.items() if isinstance(value, dict) else [str(word).partition("=")[::2] for word in several]
    return [f"{name}={_reference(folder, str(data))}" for name, data in pairs]


def beside(checkpoint: Path, found: Settings) -> Path | None:
    """Settings in the checkpoint's own folder that are not read, since a download could carry them."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    candidate = folder / NAMES[0]
    searched = folder.resolve() in (Path.cwd(), *Path.cwd().parents)
    return candidate if candidate.is_file() and not searched and found.path != candidate else None


def _renamed(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table and those in it with underscores in their keys; the names of metrics stay as they are."""
    return {
        key.replace("-", "_"): _renamed(value) if isinstance(value, dict) and key != METRIC_TABLE else value
        for key, value in table.items()
    }


@cache
def _repeatable() -> frozenset[str]:
    """The options that take a list."""
    kinds = (*ANALYSES, Conditions, Gate)
    return frozenset(f.name for kind in kinds for f in described(kind, Option) if get_origin(f.type) is tuple)


def _located(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """File references made independent of the working directory; single words made lists where lists are meant."""
    located: dict[str, Any] = {}
    for key, value in values.items():
        if key == METRIC_TABLE:
            located[key] = value
        elif key == POPULATION:
            located[key] = _populations(folder, value)
        elif isinstance(value, dict) and key in ARGUMENTS:
            located[key] = [f"{name}={argument!r}" for name, argument in value.items()]
        elif isinstance(value, dict):
            located[key] = _located(folder, value)
        elif key == "checkpoint":
            paths = value if isinstance(value, list) else [value]
            located[key] = [str(folder / str(path)) for path in paths]
        elif key in REFERENCES and isinstance(value, str):
            located[key] = _reference(folder, value)
        elif key in FILES:
            several = key in _repeatable()
            if not several and not isinstance(value, str):
                raise UsageError(f"{folder}: the setting {key} is {value!r}", fix="the name of one file")
            paths = value if isinstance(value, list) else [value]
            located[key] = [str(folder / str(path)) for path in paths] if several else str(folder / str(value))
        elif key in _repeatable() and not isinstance(value, list):
            located[key] = [value]
        else:
            located[key] = value
    return located
