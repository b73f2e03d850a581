"""What the documentation site is made of: its navigation, the reference of commands, and messages that it explains."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

from landscape.analyses import ANALYSES
from landscape.fields import flag
from landscape_cli.main import commands

DOCS = ROOT / "docs"


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that writes the reference below the pages of commands."""
    monkeypatch.syspath_prepend(str(DOCS / "site"))
    return importlib.import_module("reference")


def test_every_command_has_a_page_with_its_reference(reference: ModuleType) -> None:
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    written = "".join(reference.of_page(page) for page in pages)
    named = re.findall(r"^### `landscape (\S+) --help`$", written, re.MULTILINE)
    assert sorted(named) == sorted(commands())


@pytest.mark.parametrize("kind", ANALYSES, ids=lambda kind: kind.name)
def test_the_reference_names_every_option_and_every_field(reference: ModuleType, kind: type) -> None:
    text = reference.of_page(f"{kind.name}.md")
    fields = {field.name for field in dataclasses.fields(kind.result) if field.metadata.get("landscape")}
    assert fields
    assert fields <= set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    for option in dataclasses.fields(kind):
        assert re.search(rf"^\| `[^`]*{flag(option.name)}\b", text, re.MULTILINE), option.name


def test_cells_of_the_reference_end_where_they_should(reference: ModuleType) -> None:
    for name in commands():
        page = f"{reference.PAGES.get(name, name)}.md"
        for table in re.split(r"\n\s*\n", reference.of_page(page)):
            rows = [line for line in table.splitlines() if line.strip().startswith("|")]
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1, rows[:2]


def test_a_page_that_is_no_command_s_has_no_reference(reference: ModuleType) -> None:
    assert reference.of_page("concepts.md") == ""
    assert reference.of_page("how-to/gate.md") == ""


def test_the_navigation_names_every_page_once() -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(named) == len(set(named))
    of_the_root = {"index.md", "contributing.md", "security.md", "changelog.md"}
    assert set(named) - of_the_root == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def test_messages_that_are_explained_are_messages() -> None:
    """Headings of docs/troubleshooting.md are parts of what the command says."""
    explained = re.findall(r"^### `([^`]+)`", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    said = "\n".join(_texts(path) for folder in ("landscape", "cli") for path in (ROOT / folder).rglob("*.py"))
    assert len(explained) >= 12
    assert [message for message in explained if message not in said] == []


def _texts(path: Path) -> str:
    """The texts of a module, those of f-strings with gaps."""
    return "\n".join(
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
