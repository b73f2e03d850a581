"""Where an objective came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ObjectiveSource:
    """Where an objective came from: its checkpoint, the conditions, where each was named, notes of the loading.

    `groups` are the numbers of the groups of the optimizer whose state the checkpoint holds.
    """

    path: Path | None = None
    sha256: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    resolved_from: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    groups: tuple[Mapping[str, Any], ...] = ()
