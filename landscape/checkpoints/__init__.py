"""Checkpoints as data: what a file is, what it holds, and the description of itself that it may carry."""

from __future__ import annotations

from landscape.checkpoints.names import fit
from landscape.checkpoints.read import Checkpoint, read
from landscape.checkpoints.save import save
from landscape.checkpoints.spec import Spec

__all__ = ["Checkpoint", "Spec", "fit", "read", "save"]
