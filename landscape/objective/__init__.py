"""The mean loss of a model over fixed data as a pure function of one flat parameter vector.

Names are imported on first use (PEP 562), so that naming this package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.objective.objective import Objective as Objective
    from landscape.objective.planned import PlannedObjective as PlannedObjective
    from landscape.objective.reference import Reference as Reference
    from landscape.objective.replicas import Replica as Replica
    from landscape.objective.source import ObjectiveSource as ObjectiveSource

MODULES = {
    "Objective": "landscape.objective.objective",
    "PlannedObjective": "landscape.objective.planned",
    "Reference": "landscape.objective.reference",
    "Replica": "landscape.objective.replicas",
    "ObjectiveSource": "landscape.objective.source",
}
__all__ = ["Objective", "ObjectiveSource", "PlannedObjective", "Reference", "Replica"]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module 'landscape.objective' has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name]), name)
