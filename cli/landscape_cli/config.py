"""Settings from `landscape.toml` or `[tool.landscape]` in pyproject.toml, searched upward from the working directory.

Environment variables are read by `options`. Settings in the checkpoint's folder are not obeyed: a download could
carry them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.errors import UsageError
from landscape.storage.bounded import read_bounded
from landscape_cli.config_tables import CHECKPOINT, read_tables
from landscape_cli.gate import METRIC_TABLE
from landscape_cli.plain_values import require_plain

MAX_SETTINGS_BYTES = 1 << 20
SETTINGS_FILES = ("landscape.toml", "pyproject.toml")


@dataclass(frozen=True)
class Settings:
    """Values by key, and the file they came from (None: no file)."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def defaults(self, command: str) -> dict[str, Any]:
        """What the settings say about the options of a command, under click's parameter names."""
        shared = {key: value for key, value in self.values.items() if not isinstance(value, dict)}
        merged = {**shared, **self.values.get(command, {})}
        return {"checkpoints" if key == CHECKPOINT else key: value for key, value in merged.items()}

    def table(self, *names: str) -> Mapping[str, Any]:
        """A table within tables; empty if the settings do not have it."""
        table: Any = self.values
        for name in names:
            table = table.get(name, {})
        return dict(table)

    def checkpoint(self) -> Path | None:
        """The first checkpoint that the settings name."""
        named = self.values.get(CHECKPOINT)
        return Path(named[0]) if named else None


def find(named: str | None = None, start: Path | None = None) -> Settings:
    """The settings of the file that the user named, or of the nearest one upward; raises UsageError if it is wrong.

    The search begins in `start`, by default the working directory.
    """
    if named is not None:
        return _read(Path(named))
    here = start or Path.cwd()
    for folder in (here, *here.parents):
        for name in SETTINGS_FILES:
            candidate = folder / name
            if candidate.is_file() and (settings := _read(candidate)).values:
                return settings
    return Settings()


def unread_settings(checkpoint: Path, settings: Settings) -> Path | None:
    """Settings in the checkpoint's own folder that are not obeyed, since a download could carry them."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    candidate = folder / SETTINGS_FILES[0]
    searched = folder.resolve() in (Path.cwd(), *Path.cwd().parents)
    return candidate if candidate.is_file() and not searched and settings.path != candidate else None


def _read(path: Path) -> Settings:
    """The settings in a TOML file, checked."""
    try:
        document = tomllib.loads(read_bounded(path, MAX_SETTINGS_BYTES).decode("utf-8-sig"))
        require_plain(document)
    except OSError as error:
        raise UsageError(
            f"settings {path} cannot be read: {error.strerror}", fix="--config FILE names a TOML file"
        ) from error
    except RecursionError as error:
        raise UsageError(
            f"settings {path} nests its tables or lists too deeply", fix="fewer levels of brackets"
        ) from error
    except ValueError as error:  # of TOML, of its encoding, and of what it holds
        raise UsageError(f"settings {path} is not TOML that can be used: {error}", fix="correct that line") from error
    tool = document.get("tool", {}) if path.name == "pyproject.toml" else {"landscape": document}
    table = tool.get("landscape", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.landscape] is not a table", fix="[tool.landscape] on a line of its own")
    return Settings(path, read_tables(path, _with_underscores(table)))


def _with_underscores(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table and those in it with underscores in their keys; the names of metrics stay as they are."""
    return {
        key.replace("-", "_"): _with_underscores(value) if isinstance(value, dict) and key != METRIC_TABLE else value
        for key, value in table.items()
    }
