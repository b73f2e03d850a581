"""Objectives whose weights no rank holds as a whole: the model is built without them, and they are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

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
from landscape.data.trees import leaves
from landscape.errors import CheckpointError, LandscapeError, UsageError, listing
from landscape.network.gathered_units import UNSHARDED
from landscape.network.wrappers import same_values
from landscape.objective.objective import DTYPES
from landscape.tasks.task import Task

Place = Literal["device", "host"]
PLACES: Mapping[str, Place | None] = MappingProxyType({"on": "device", "host": "host", "off": None})
SEEN = (Tensor, list, tuple, dict)  # kinds of attributes that are looked into for tensors


def place_of_parts(path: Path, conditions: Conditions) -> Place | None:
    """Where weights are kept in parts, None if they are kept whole: as the user says, else by what has room.

    A device without room for a gradient shares it with the others, and with its host where their parts have no room
    either.
    """
    if conditions.shard != "auto":
        return PLACES[conditions.shard]
    device, size = as_device(conditions.device), ranks.current().size
    if conditions.trust or (size == 1 and device.type == "cpu"):
        return None
    numbers = count_numbers(path, conditions.weights, conditions.ignore_tensors)
    needed = GRADIENT_VECTORS * numbers * DTYPES[conditions.dtype].itemsize
    room = int(memory.free_bytes(device) * (1 - SPARE))
    if needed <= room:
        return None
    return "host" if needed > room * size and device.type != "cpu" else "device"


def build_without_memory(task: Task, checkpoint: Checkpoint, conditions: Conditions) -> tuple[nn.Module, Any, str]:
    """The task's model with parameters on the meta device, a function that reads them, and a note on their names.

    The function takes the names of parameters in the model. Raises UsageError for conditions that take whole weights,
    and CheckpointError for weights that do not fit.
    """
    if checkpoint.module is not None and checkpoint.module.params:
        raise UsageError("--shard on takes no adapters", fix="--shard off, or merge the adapter into its model")
    if conditions.partial:
        raise UsageError("--shard on excludes --partial", fix="leave out one of them")
    model = _build(task)
    fitted, note = _fit(task, checkpoint, _as_stand_ins(model))
    origins = {id(tensor): name for name, tensor in checkpoint.tensors.items()}
    sources = {name: origins.get(id(tensor)) for name, tensor in fitted.items()}
    if unknown := [name for name, source in sources.items() if source is None]:
        raise CheckpointError(f"--shard on cannot read {unknown[0]} by itself", fix="--shard off")
    read = checkpoint.fetch
    assert read is not None  # the checkpoint was read one by one
    fetch = _reader(model, sources, read)
    for path, module in model.named_modules():
        for own, buffer in module._buffers.items():
            source = sources.get(f"{path}.{own}".removeprefix("."))
            if source is not None and buffer is not None:
                module._buffers[own] = read(source).to(buffer.dtype, copy=True)
    _require_values(model)
    return model, fetch, note


def _build(task: Task) -> nn.Module:
    """The task's model without values of its parameters.

    It is built twice, the second time with random numbers drawn where parameters would have been initialized: where a
    tensor beside the parameters is then another, its values are not those that the task's own model has. Raises
    UsageError for such a model, for one that is built from the values of its parameters, and for one that does more
    than to copy values where it loads a state.
    """
    try:
        with parameters_on_meta():
            model = task.build()
        with torch.random.fork_rng(devices=[]), parameters_on_meta(draws=True):
            other = task.build()
    except (NotImplementedError, RuntimeError, LandscapeError) as error:
        if "meta" not in str(error):
            raise
        raise UsageError(
            "--shard on builds a model without the values of its parameters, and this one looks at them",
            why=str(error).splitlines()[0],
            fix=UNSHARDED,
        ) from error
    _require_plain_loading(model)
    theirs = dict(_tensors_beside(other))
    drawn = [name for name, value in _tensors_beside(model) if not _are_same(value, theirs.get(name))]
    if drawn:
        raise UsageError(
            f"--shard on cannot build {listing(drawn)}: random numbers that come after the initial weights",
            why="the initial weights are not drawn, and what is drawn after them would be other numbers",
            fix=f"save them with the weights, as persistent buffers; {UNSHARDED}",
        )
    return model


def _tensors_beside(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors that no file of weights has, by name: buffers that are not saved, and plain attributes."""
    for path, module in model.named_modules():
        unsaved = {name: module._buffers[name] for name in module._non_persistent_buffers_set}
        for name, value in {**unsaved, **{n: v for n, v in vars(module).items() if not n.startswith("_")}}.items():
            for number, leaf in enumerate(leaves(value) if isinstance(value, SEEN) else ()):
                if isinstance(leaf, Tensor) and not isinstance(leaf, nn.Parameter):
                    yield f"{path}.{name}".removeprefix(".") + (f"[{number}]" if number else ""), leaf


def _are_same(value: Tensor, other: Tensor | None) -> bool:
    """Whether two tensors beside the parameters have the same values, or none both."""
    if other is None or other.shape != value.shape or other.is_meta != value.is_meta:
        return False
    return value.is_meta or same_values(value, other)


def _require_values(model: nn.Module) -> None:
    """Raises UsageError for a tensor beside the parameters that was computed from their values."""
    buffers = ((name, buffer) for name, buffer in model.named_buffers() if buffer.is_meta)
    without = [name for name, tensor in (*buffers, *_tensors_beside(model)) if tensor.is_meta]
    if without:
        raise UsageError(
            f"--shard on cannot build {listing(list(dict.fromkeys(without)))}, which is computed from initial weights",
            fix=f"compute it in forward, or save it with the weights; {UNSHARDED}",
        )


def _require_plain_loading(model: nn.Module) -> None:
    """Raises UsageError for a model that does more where it loads a state than to copy values."""
    for path, module in model.named_modules():
        hooks = [*module._load_state_dict_pre_hooks.values(), *module._load_state_dict_post_hooks.values()]
        kind = type(module)
        own = {
            "a hook on load_state_dict": any(not _is_torch_s(hook) for hook in hooks),
            "its own _load_from_state_dict": not _is_torch_s(kind._load_from_state_dict),
            "its own load_state_dict": not _is_torch_s(kind.load_state_dict),
            "extra state": kind.set_extra_state is not nn.Module.set_extra_state,
        }
        if named := [what for what, has in own.items() if has]:
            raise UsageError(
                f"--shard on reads tensors one by one, and {path or type(module).__name__} has {listing(named)}",
                why="what it does to the weights would be left out",
                fix=UNSHARDED,
            )


def _is_torch_s(function: Any) -> bool:
    """Whether a function, or what it stands for, is torch's own."""
    inner = getattr(function, "hook", function)  # torch's wrapper of a hook
    inner = inner.func if isinstance(inner, partial) else inner
    where = getattr(inner, "__module__", None) or type(inner).__module__
    return where.split(".")[0] == "torch"


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
def parameters_on_meta(*, draws: bool = False) -> Iterator[None]:
    """The block in which modules' new parameters lose their values, and lie on the meta device; buffers have values.

    They stay the objects that they are, wherever else the model keeps them. With `draws` a random number is drawn for
    each of them.
    """

    def move(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        del module, name
        if parameter is None or parameter.is_meta:
            return
        bare = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        torch.utils.swap_tensors(parameter, bare)  # type: ignore[no-untyped-call]
        if draws:
            torch.rand(())

    hook = register_module_parameter_registration_hook(move)
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
