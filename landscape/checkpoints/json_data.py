"""JSON from a file that nobody vouches for: parsed only if it cannot take more memory than it is worth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from landscape.errors import CheckpointError

MAX_BRACKETS = 20_000  # of lists and tables: each takes up to a hundred times its bytes
MAX_ITEMS = 300_000  # each takes up to a hundred bytes
MAX_JSON_DEPTH = 50  # lists and tables in one another


def parse_json(content: bytes | None, where: Path | str) -> Any:
    """The value; None stands for content that is too large. Raises CheckpointError for what is no plain JSON."""
    brackets = content is None or content.count(b"[") + content.count(b"{") > MAX_BRACKETS
    if content is None or brackets or content.count(b",") > MAX_ITEMS:
        raise CheckpointError(f"{where} is absurdly large for what it describes", fix="download it again")
    try:
        value = json.loads(content, parse_constant=_no_number, parse_float=_finite)
        _require_shallow(value)
        return value
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is no JSON: {error}", fix="download it again, or save it again") from error


def _finite(word: str) -> float:
    number = float(word)
    return number if math.isfinite(number) else _no_number(word)


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [inner for part in level if isinstance(part, dict | list) for inner in _inside(part)]
        if not level:
            return
    raise ValueError(f"more than {MAX_JSON_DEPTH} lists and tables in one another")


def _inside(part: Any) -> Any:
    return part.values() if isinstance(part, dict) else part


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
