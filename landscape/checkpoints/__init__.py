"""Checkpoints as data: what a file is, what it holds, and the description of itself that it may carry.

Describing a checkpoint (`formats`, `inspection`, `names`) needs no torch; the names here are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.checkpoints.checkpoint import Checkpoint as Checkpoint
    from landscape.checkpoints.checkpoint import content_sha256 as content_sha256
    from landscape.checkpoints.formats.detection import describe as describe
    from landscape.checkpoints.names import fit as fit
    from landscape.checkpoints.reading import read as read
    from landscape.checkpoints.saving import save as save
    from landscape.checkpoints.spec import Spec as Spec

HOMES = {
    "Checkpoint": "checkpoint",
    "Spec": "spec",
    "content_sha256": "checkpoint",
    "describe": "formats.detection",
    "fit": "names",
    "read": "reading",
    "save": "saving",
}
__all__ = ["Checkpoint", "Spec", "content_sha256", "describe", "fit", "read", "save"]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'landscape.checkpoints' has no attribute {name!r}")
    return getattr(importlib.import_module(f"landscape.checkpoints.{HOMES[name]}"), name)
