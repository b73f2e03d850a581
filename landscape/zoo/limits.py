"""Bounds on what a name with arguments may make: the arguments may come from inside a checkpoint."""

from __future__ import annotations

LAYERS = 1000
IDS = 1 << 22  # of text, 32 MiB


def require_at_most(limit: int, count: int, what: str) -> None:
    """Raises ValueError if more is asked for than any sample or test needs."""
    if count > limit:
        raise ValueError(f"{count:,} {what} are more than {limit:,}")
