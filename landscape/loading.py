"""From a checkpoint's path to an Objective: read, find the task, build the model, fit the weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape import checkpoints
from landscape.checkpoints import optimizer
from landscape.checkpoints.names import unwrapped
from landscape.compute.strategy import Engine
from landscape.conditions import Conditions
from landscape.errors import CheckpointError, TaskError, UsageError
from landscape.fields import validate
from landscape.objective import Objective, Source
from landscape.tasks import task as tasks


def load(
    path: str | Path, conditions: Conditions | None = None, *, origins: Mapping[str, str] | None = None, **named: Any
) -> Objective:
    """The objective of a checkpoint: `load("ckpt.pt")`, or `load("ckpt.pt", model="model.py:build", data=...)`.

    `named` are fields of `landscape.conditions.Conditions`, as an alternative to `conditions`. Raises CheckpointError
    or TaskError with what is missing, and NumericalError for NaN in the weights.
    """
    objects = [name for name in ("model", "data", "loss") if not isinstance(named.get(name), str | None)]
    if objects:
        raise UsageError(
            f"load() takes the {', '.join(objects)} by name",
            fix="pass the objects themselves to landscape.Objective(model, batches, loss)",
        )
    conditions = conditions or Conditions(**named)
    validate(conditions)
    checkpoint = checkpoints.read(path, weights=conditions.weights, trust=conditions.trust)
    task = tasks.find_task(checkpoint, conditions, origins)
    if task.described and not task.weighted:
        _require_proportion(task, checkpoint)
    model = task.build()
    parameters = dict(model.named_parameters())

    state = checkpoint.optimizer  # not the checkpoint itself: its tensors need not outlive the loading

    def preconditioner() -> Mapping[str, Tensor]:
        if conditions.preconditioner is None:
            return optimizer.diagonal(state(), parameters, str(path))
        tensors = checkpoints.read(conditions.preconditioner).tensors
        return {unwrapped(name, frozenset(parameters)): tensor for name, tensor in tensors.items()}

    stripped = "" if task.weighted else _filled(model, checkpoint, f"model {task.resolved_from['model']}")
    built = checkpoint.module.said if checkpoint.module and task.weighted else []
    source = Source(checkpoint.path, checkpoint.sha256, asdict(conditions), task.resolved_from)
    objective = Objective(
        model,
        task.data(),
        task.loss,
        params=conditions.params,
        device=conditions.device,
        dtype=conditions.dtype,
        micro_batch=conditions.micro_batch,
        engine=Engine(conditions.hvp, conditions.compile, conditions.cuda_graphs, conditions.tf32),
        limit=conditions.limit,
        preconditioner=preconditioner,
        source=source,
        populations=task.populations,
    )
    found = [f"{kind}: {name}" for kind, name in task.resolved_from.items()]
    said = [
        *found,
        *checkpoint.notes,
        *built,
        stripped,
        _upcast(checkpoint.tensors, conditions.dtype),
        *objective.notes,
    ]
    objective.notes[:] = dict.fromkeys(filter(None, said))
    return objective


def _require_proportion(task: tasks.Task, checkpoint: checkpoints.Checkpoint) -> None:
    """Raises CheckpointError if the model that a checkpoint describes is much larger than its weights.

    A small file could otherwise ask for a model that fills the memory. The model is measured without being allocated.
    """
    with torch.device("meta"), suppress(TaskError):  # a registered model may not be buildable there
        wanted = sum(tensor.numel() for tensor in task.build().state_dict().values())
        held = sum(tensor.numel() for tensor in checkpoint.tensors.values())
        if wanted > 2 * held:
            raise CheckpointError(
                f"{checkpoint.path} does not fit the model {task.resolved_from['model']}: it holds {held:,} "
                f"numbers for {wanted:,}",
                fix="name the model that these weights were trained in: --model pkg.mod:factory, --model-arg key=value",
            )


def _filled(model: nn.Module, checkpoint: checkpoints.Checkpoint, named: str) -> str:
    """Puts the checkpoint's weights into the model; a note of what was done to their names."""
    try:
        fitted, stripped = checkpoints.fit(checkpoint.tensors, model.state_dict(), str(checkpoint.path), named)
    except CheckpointError as error:  # what was chosen may be what is wrong
        raise CheckpointError(error.what, why=error.why or "; ".join(checkpoint.notes), fix=error.fix) from None
    model.load_state_dict(fitted)
    return stripped


def _upcast(tensors: Mapping[str, Tensor], dtype: str) -> str:
    """What is said of weights that the file holds in less precision than they are measured in."""
    narrow = {str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point() and t.itemsize < 4}
    return f"{', '.join(sorted(narrow))} weights are computed in {dtype}" if narrow else ""
