"""The hook for pre-commit: its form, and that its command is one."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from conftest import ROOT

from landscape.storage.paths import CHECKPOINTS
from landscape_cli.main import commands

HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
KNOWN = {"id", "name", "description", "entry", "language", "files", "pass_filenames", "require_serial", "stages"}
STAGES = {"pre-commit", "pre-merge-commit", "pre-push", "manual"}


@pytest.mark.parametrize("hook", HOOKS, ids=[hook["id"] for hook in HOOKS])
def test_a_hook_has_the_form_that_pre_commit_wants(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language"} <= set(hook) <= KNOWN
    assert hook["language"] == "python"
    assert set(hook["stages"]) <= STAGES


@pytest.mark.parametrize("hook", HOOKS, ids=[hook["id"] for hook in HOOKS])
def test_its_command_is_installed_with_it(hook: dict[str, Any]) -> None:
    script, command = hook["entry"].split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert script in project["scripts"]
    assert command in commands()


def test_it_runs_when_a_checkpoint_changes_and_takes_none_of_them_as_an_argument() -> None:
    """Checkpoints may be folders, of which pre-commit would name single files."""
    (hook,) = HOOKS
    assert all(re.search(hook["files"], f"runs/last{ending}") for ending in CHECKPOINTS)
    assert not re.search(hook["files"], "landscape-baseline.json")
    assert hook["pass_filenames"] is False
