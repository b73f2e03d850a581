"""Values of a settings file that no option can use, and that would fail later, without a place."""

from __future__ import annotations

from typing import Any

from landscape.errors import safe_excerpt

MAX_DEPTH = 50  # tables and lists in one another
MAX_LETTERS = 4096  # of a text: as many as a path has
MAX_INTEGER = 1 << 63  # TOML's integers have 64 bits


def require_plain(document: Any) -> None:
    """Raises ValueError for a huge integer or text, a text with the character NUL, and too many levels."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
        for value in level:
            _require_plain_value(value)
    raise ValueError(f"more than {MAX_DEPTH} tables and lists in one another")


def _inside(value: Any) -> list[Any]:
    """The keys and values of a table, or the entries of a list."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _require_plain_value(value: Any) -> None:
    if isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER:
        raise ValueError("an integer of more than 64 bits")
    if isinstance(value, str) and len(value) > MAX_LETTERS:
        raise ValueError(f"a text of {len(value):,} letters: {safe_excerpt(value)}")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"a text with the character NUL: {safe_excerpt(value)}")
