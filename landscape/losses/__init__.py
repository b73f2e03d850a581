"""Losses as sums with counts: built-in ones, the user's own, and those of Hugging Face models.

`as_loss` and `Loss` are imported on first use (PEP 562), so that naming this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.losses.loss import Loss as Loss
    from landscape.losses.loss import as_loss as as_loss

__all__ = ["Loss", "as_loss"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'landscape.losses' has no attribute {name!r}")
    return getattr(importlib.import_module("landscape.losses.loss"), name)
