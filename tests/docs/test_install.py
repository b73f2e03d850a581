"""docs/install.md: its commands are those of the files that it speaks of."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from landscape_cli.main import status

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line) for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def document(word: str) -> Any:
    """The YAML block that holds the word."""
    (text,) = [text for language, text in BLOCKS if language == "yaml" and word in text]
    return yaml.safe_load(text)


def test_its_own_commands_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    own = [words[1:] for words in COMMANDS if words[0] == "landscape"]
    assert own == [["doctor"]]
    assert all(status(words) == 0 for words in own)


def test_the_commands_for_docker_name_files_that_are_there() -> None:
    build, run = [words for words in COMMANDS if words[0] == "docker"]
    assert (ROOT / build[build.index("--file") + 1]).is_file()
    assert build[build.index("--tag") + 1] in run
    assert "WORKDIR /work" in (ROOT / build[build.index("--file") + 1]).read_text(encoding="utf-8")
    assert "$PWD:/work" in run


def test_the_workflow_uses_the_action_as_it_is() -> None:
    steps = document("runs-on")["jobs"]["check"]["steps"]
    (step,) = [step for step in steps if "OWNER/REPOSITORY" in step.get("uses", "")]
    folder = step["uses"].removeprefix("OWNER/REPOSITORY/").partition("@")[0]
    action = yaml.safe_load((ROOT / folder / "action.yml").read_text(encoding="utf-8"))
    assert set(step["with"]) <= set(action["inputs"])
    assert '`install: "false"`' in PAGE
    assert "install" in action["inputs"]


def test_the_hook_is_one_of_those_of_the_repository() -> None:
    (repository,) = document("repos:")["repos"]
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {hook["id"] for hook in repository["hooks"]} == {hook["id"] for hook in hooks}


def test_every_extra_has_a_line() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for line in rows for name in re.findall(r"`([a-z]+)`", line.split("|")[1])}
    assert set(PROJECT["optional-dependencies"]) <= named


def test_the_versions_of_python_are_those_of_the_metadata() -> None:
    prefix = "Programming Language :: Python :: 3."
    versions = {text.removeprefix(prefix) for text in PROJECT["classifiers"] if text.startswith(prefix)}
    assert set(re.findall(r"\b3\.(\d+)\b", PAGE.partition("## Extras")[0])) == versions


def test_its_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)`", PAGE))
    assert {"test", "test-lowest", "demo"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
