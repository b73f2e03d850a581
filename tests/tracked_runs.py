"""A run of four checkpoints of a small net, for tests that measure it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import SAMPLES

import landscape
from landscape.tracking import tracker

STEPS = (0, 84, 420, 840)
FEW: dict[str, Any] = {"limit": 60}


def make_run(folder: Path) -> Path:
    """The folder with the checkpoints."""
    folder.mkdir()
    for step in STEPS:
        shutil.copy(SAMPLES / f"digits-mlp-trajectory/step-{step:04}.pt", folder)
    return folder


def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the checkpoints whose measurement begins from now on."""
    names: list[str] = []

    def execute(analysis: Any, objective: Any, **named: Any) -> Any:
        names.append(objective.source.path.name)
        return landscape.session.execute(analysis, objective, **named)  # type: ignore[attr-defined]

    monkeypatch.setattr(tracker, "execute", execute)
    return names
