"""Losses as sums with counts: built-in ones, the user's own, and those of Hugging Face models.

`as_loss`, `Loss` and `OutputStructure` are imported on first use (PEP 562), so that importing this package does not
load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.losses.protocol import Loss as Loss
    from landscape.losses.protocol import OutputStructure as OutputStructure
    from landscape.losses.user import as_loss as as_loss

HOMES = {"Loss": "protocol", "OutputStructure": "protocol", "as_loss": "user"}
__all__ = ["Loss", "OutputStructure", "as_loss"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'landscape.losses' has no attribute {name!r}")
    return getattr(importlib.import_module(f"landscape.losses.{HOMES[name]}"), name)
