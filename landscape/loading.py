"""From a checkpoint's path to an Objective: read, find the task, build the model, fit the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from landscape import checkpoints, tasks
from landscape.conditions import Conditions
from landscape.fields import validate
from landscape.objective import Objective, Source


def load(
    path: str | Path, conditions: Conditions | None = None, *, origins: Mapping[str, str] | None = None, **named: Any
) -> Objective:
    """The objective of a checkpoint: `load("ckpt.pt")`, or `load("ckpt.pt", model="model.py:build", data=...)`.

    `named` are fields of `landscape.conditions.Conditions`, as an alternative to `conditions`. Raises CheckpointError
    or TaskError with what is missing, and NumericalError for NaN in the weights.
    """
    conditions = conditions or Conditions(**named)
    validate(conditions)
    checkpoint = checkpoints.read(path)
    task = tasks.find(checkpoint, conditions, origins)
    model = task.build()
    fitted, stripped = checkpoints.fit(
        checkpoint.tensors, model.state_dict(), str(path), f"model {task.resolved_from['model']}"
    )
    model.load_state_dict(fitted)
    source = Source(checkpoint.path, checkpoint.sha256, asdict(conditions), task.resolved_from)
    objective = Objective(
        model,
        task.data(),
        task.loss,
        params=conditions.params,
        device=conditions.device,
        dtype=conditions.dtype,
        micro_batch=conditions.micro_batch,
        source=source,
    )
    objective.notes[:0] = [
        *(f"{kind}: {found}" for kind, found in task.resolved_from.items()),
        *filter(None, [stripped]),
    ]
    return objective
