"""The commands that measure stored results again: from their options and conditions, without what is the default."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from landscape.analyses import ANALYSES, Analysis
from landscape.conditions import Conditions
from landscape.errors import LandscapeError
from landscape.fields import Described, Option, described_fields, flag, stored_name

KINDS: Mapping[str, type[Analysis]] = {analysis.name: analysis for analysis in ANALYSES}
ELSEWHERE = {  # what options that are not stored have to name, by the analysis and the value of its `axes`
    ("surface", "checkpoints"): "--towards names the other checkpoints, whose paths are not stored",
    ("surface", "trajectory"): "--trajectory names the folder of the run, whose path is not stored",
}


def command_of(analysis: str, attributes: Mapping[str, Any]) -> str:
    """The command that measures a result again, with what the attributes do not know in a comment.

    >>> attributes = {"checkpoint": "a.pt", "options": '{"k": 3}', "conditions": '{"limit": 100, "mode": "eval"}'}
    >>> command_of("eig", attributes)
    'landscape eig a.pt -k 3 --limit 100'
    """
    options, conditions = (json.loads(str(attributes.get(key, "{}"))) for key in ("options", "conditions"))
    checkpoint = str(attributes.get("checkpoint", ""))
    words = ["landscape", analysis, checkpoint or "CHECKPOINT", *analysis_flags(analysis, options)]
    line = shlex.join([*words, *_flags(Conditions, _changes(Conditions, conditions))])
    notes = [ELSEWHERE.get((analysis, str(options.get("axes"))), "")]
    notes += [] if checkpoint else ["measured in Python, on an objective that no checkpoint holds"]
    return "  # ".join(filter(None, [line, "; ".join(filter(None, notes))]))


def analysis_flags(analysis: str, stored: Mapping[str, Any]) -> list[str]:
    """The flags of an analysis that differ from its defaults, as few as give the same options."""
    if analysis not in KINDS:
        return []
    kind = KINDS[analysis]
    return _flags(kind, _needs(kind, _changes(kind, stored), stored))


def _changes(record: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored options that are not the defaults, by the names of their fields."""
    found = {
        f.name: (_as_tuple(stored[stored_name(f)]), f.default) for f in _options(record) if stored_name(f) in stored
    }
    return {name: value for name, (value, default) in found.items() if value is not None and value != default}


def _needs(kind: type[Analysis], changed: dict[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those that follow from the others, as a surface's ranges follow from its axes."""
    wanted = _comparable(stored)
    for name in list(changed):
        fewer = {other: value for other, value in changed.items() if other != name}
        try:
            same = _comparable(kind(**fewer).identity()) == wanted
        except (LandscapeError, TypeError, ValueError):  # this one is needed, or an earlier version's
            same = False
        changed = fewer if same else changed
    return changed


def _flags(record: type, values: Mapping[str, Any]) -> list[str]:
    """The words of the command line that give these values."""
    fields = {field.name: field for field in _options(record)}
    return [word for name, value in values.items() for word in _words(fields[name], value)]


def _words(field: Described[Option], value: Any) -> list[str]:
    spelled = f"-{field.about.short}" if field.about.short else flag(field.name)
    if isinstance(value, bool):
        return [flag(field.name) if value else f"--no-{flag(field.name)[2:]}"]
    if isinstance(value, tuple):
        return [word for part in value for word in (spelled, str(part))]
    return [spelled, str(value)]


def _options(record: type) -> list[Described[Option]]:
    return list(described_fields(record, Option))


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _comparable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON keeps them."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return plain
