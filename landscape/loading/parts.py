"""Objectives whose weights no rank holds as a whole: the model is built without them, and they are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from landscape import checkpoints
from landscape.checkpoints import Checkpoint
from landscape.checkpoints.reading import count_numbers
from landscape.compute import memory, ranks
from landscape.compute.budget import GRADIENT_VECTORS, SPARE
from landscape.compute.devices import as_device
from landscape.conditions import Conditions
from landscape.errors import CheckpointError, UsageError
from landscape.objective.objective import DTYPES
from landscape.tasks.task import Task


def wants_parts(path: Path, conditions: Conditions) -> bool:
    """Whether weights are kept in parts: as the user says, else where a rank has no room for a gradient."""
    if conditions.shard != "auto":
        return conditions.shard == "on"
    if ranks.current().size == 1 or conditions.trust:
        return False
    numbers = count_numbers(path, conditions.weights, conditions.ignore_tensors)
    room = int(memory.free_bytes(as_device(conditions.device)) * (1 - SPARE))
    return GRADIENT_VECTORS * numbers * DTYPES[conditions.dtype].itemsize > room


def build_without_memory(task: Task, checkpoint: Checkpoint, conditions: Conditions) -> tuple[nn.Module, Any, str]:
    """The task's model with parameters on the meta device, a function that reads them, and a note on their names.

    The function takes the names of parameters in the model. Raises UsageError for conditions that take whole weights,
    and CheckpointError for weights that do not fit.
    """
    if checkpoint.module is not None and checkpoint.module.params:
        raise UsageError("--shard on takes no adapters", fix="--shard off, or merge the adapter into its model")
    if conditions.partial:
        raise UsageError("--shard on excludes --partial", fix="leave out one of them")
    with parameters_on_meta():
        model = task.build()
    fitted, note = _fit(task, checkpoint, _as_stand_ins(model))
    origins = {id(tensor): name for name, tensor in checkpoint.tensors.items()}
    sources = {name: origins.get(id(tensor)) for name, tensor in fitted.items()}
    if unknown := [name for name, source in sources.items() if source is None]:
        raise CheckpointError(f"--shard on cannot read {unknown[0]} by itself", fix="--shard off")
    read = checkpoint.fetch
    assert read is not None  # the checkpoint was read one by one
    fetch = _reader(model, sources, read)
    for name, buffer in model.named_buffers():
        if (source := sources.get(name)) is not None:
            buffer.copy_(read(source))
    return model, fetch, note


def _fit(task: Task, checkpoint: Checkpoint, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The stand-ins of the checkpoint's tensors under the model's names, and a note on what was done to the names."""
    try:
        return checkpoints.fit(
            checkpoint.tensors,
            state,
            str(checkpoint.path),
            f"model {task.resolved_from['model']}",
            prefix=checkpoint.prefix,
            unread=checkpoint.unread,
        )
    except CheckpointError as error:
        if not task.weighted:
            raise
        raise CheckpointError(
            error.what,
            why="transformers saves some families under other names than their modules have, and --shard reads each "
            "tensor by its module's name",
            fix="--shard off",
        ) from error


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """The block in which modules put their new parameters on the meta device; buffers have values."""

    def move(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        del module, name
        if parameter is None or parameter.is_meta:
            return None
        return nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)

    hook = register_module_parameter_registration_hook(move)  # type: ignore[arg-type]
    try:
        yield
    finally:
        hook.remove()


def _as_stand_ins(model: nn.Module) -> dict[str, Tensor]:
    """The model's state with zeros of its parameters' shapes; what is one tensor there is one here."""
    known: dict[int, Tensor] = {}
    return {
        name: known.setdefault(id(tensor), torch.zeros((), dtype=tensor.dtype).expand(tensor.shape))
        if tensor.is_meta
        else tensor.detach()
        for name, tensor in model.state_dict(keep_vars=True).items()
    }


def _reader(
    model: nn.Module, sources: Mapping[str, str | None], read: Callable[[str], Tensor]
) -> Callable[[str], Tensor]:
    """Reads a parameter by its name; raises CheckpointError if the file has another value for another of its names."""
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(sources[name] or name)

    def fetch(name: str) -> Tensor:
        """The whole tensor."""
        first, *others = sorted(names[id(model.get_parameter(name))])
        tensor = read(first)
        if different := [other for other in others if not tensor.equal(read(other))]:
            raise CheckpointError(
                f"the model has {first} and {different[0]} as one tensor, and the checkpoint two different ones",
                fix="save the weights of this model again",
            )
        return tensor

    return fetch
