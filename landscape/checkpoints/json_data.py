"""JSON from a file that nobody vouches for: parsed only if it cannot take more memory than it is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from landscape.errors import CheckpointError

MOST_BRACKETS = 20_000  # of lists and tables: each takes up to a hundred times its bytes


def parsed(content: bytes | None, where: Path | str) -> Any:
    """The value; None stands for content that is too large. Raises CheckpointError for what is no plain JSON."""
    if content is None or content.count(b"[") + content.count(b"{") > MOST_BRACKETS:
        raise CheckpointError(f"{where} is absurdly large for what it describes", fix="download it again")
    try:
        return json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is no JSON: {error}", fix="download it again, or save it again") from error


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
