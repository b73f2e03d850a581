"""Bounds on the size of models and data sets by name: their arguments may come from inside a checkpoint."""

from __future__ import annotations

MAX_LAYERS = 1000
MAX_CHARACTERS = 1 << 22  # 32 MiB of ids


def require_at_most(limit: int, count: int, what: str) -> None:
    """Raises ValueError if `count` is above the limit; `what` names the things that are counted."""
    if count > limit:
        raise ValueError(f"{count:,} {what} are more than {limit:,}")
