"""Text has one encoding on every system: each file that is opened as text names its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

METHODS = ("read_text", "write_text")
OPENING = ("open", "fdopen")
RUNNING = ("run", "Popen", "check_output")
SOURCES = sorted(path for folder in ("landscape", "cli") for path in (ROOT / folder).rglob("*.py"))


def unnamed_encodings(source: str) -> list[int]:
    """The lines of calls that open text, or read it from a process, in the encoding of the system."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted(call.lineno for call in calls if _is_text(call) and "encoding" not in _keywords(call))


def _keywords(call: ast.Call) -> dict[str | None, object]:
    return {word.arg: getattr(word.value, "value", None) for word in call.keywords}


def _is_text(call: ast.Call) -> bool:
    """Whether a call reads or writes text: of a path, of a file (not by os.open), of a descriptor or of a process."""
    given, is_method = _keywords(call), isinstance(call.func, ast.Attribute)
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if name in METHODS:
        return is_method
    if name in RUNNING:
        return bool(given.get("text") or given.get("universal_newlines"))
    if name not in OPENING or (owner, name) == ("os", "open"):
        return False
    place = 0 if is_method and name == "open" else 1  # of the mode
    mode = given.get("mode", getattr(call.args[place], "value", None) if len(call.args) > place else "r")
    return isinstance(mode, str) and "b" not in mode


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("read_text(a)\npath.read_text()\npath.write_text(a, encoding='utf-8')", [2]),
        ("open(a)\nopen(a, 'rb')\nopen(a, mode='w')\nopen(a, encoding='utf-8')", [1, 3]),
        ("path.open()\npath.open('rb')\npath.open('w')\nos.open(a, flags)", [1, 3]),
        ("os.fdopen(a, 'wb')\nos.fdopen(a, 'w')", [2]),
        ("subprocess.run(a, text=True)\nsubprocess.run(a)", [1]),
    ],
    ids=["path", "builtin", "open-of-a-path", "descriptor", "process"],
)
def test_calls_without_an_encoding_are_found(source: str, lines: list[int]) -> None:
    assert unnamed_encodings(source) == lines


def test_every_text_names_its_encoding() -> None:
    def lines(path: Path) -> list[str]:
        return [f"{path.relative_to(ROOT)}:{line}" for line in unnamed_encodings(path.read_text(encoding="utf-8"))]

    assert [place for path in SOURCES for place in lines(path)] == []
