"""How the checkpoints of a run are measured: the attributes of its history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from landscape.storage import provenance
from landscape.storage.provenance import Fingerprint

if TYPE_CHECKING:
    from landscape.analyses import Analysis
    from landscape.history.history import History
    from landscape.objective import Objective

MEASUREMENT = "measurement"  # the attribute with what decides the numbers of all checkpoints, in JSON


def description_of(objective: Objective, analyses: Sequence[Analysis]) -> dict[str, Any]:
    """The attributes of a history whose checkpoints are measured as this objective is."""
    parts = {**objective.identity(), **{each.name: each.fit_budget(objective).identity() for each in analyses}}
    parts.pop("weights")
    source = objective.source
    return {
        MEASUREMENT: Fingerprint(parts).to_json(),
        "conditions": json.dumps(dict(source.conditions), sort_keys=True),
        "resolved_from": json.dumps(dict(source.resolved_from), sort_keys=True),
        "environment": json.dumps(provenance.environment(), sort_keys=True),
        "data_sha256": objective.batches.sha256,
        "parameters": objective.space.size,
        "samples": objective.batches.samples,
        "dtype": str(objective.dtype).removeprefix("torch."),
        "device": str(objective.device),
    }


def differences_in_measurement(description: dict[str, Any], history: History) -> list[str]:
    """In what a history was measured otherwise than described; empty if it was not, or holds nothing yet."""
    known = history.attributes.get(MEASUREMENT)
    if known is None:
        return []
    return Fingerprint.from_json(description[MEASUREMENT]).differences(Fingerprint.from_json(str(known)))
