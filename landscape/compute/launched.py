"""What the environment says of the launcher that started this process, without torch."""

from __future__ import annotations

import os


def is_launched() -> bool:
    """Whether a launcher has started this process as one of several, or torchrun as one."""
    named = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))
    return named and (os.environ["WORLD_SIZE"] != "1" or "TORCHELASTIC_RUN_ID" in os.environ)
