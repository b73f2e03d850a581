"""The weights of a model in parts: every rank reads one tensor after the other, and keeps its own piece of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landscape.choices import Mode
from landscape.compute.ranks import Ranks
from landscape.compute.shards import Shards
from landscape.errors import UsageError
from landscape.network.absent_weights import AbsentWeight, absent, take_values
from landscape.network.filters import filter_axes
from landscape.network.gathered_units import UNSHARDED, Passage
from landscape.network.space import ParameterSpace
from landscape.network.units import find_units
from landscape.network.weight_norm import uses_weight_norm
from landscape.network.wrappers import trainable_parameters, unwrap
from landscape.objective.preparation import Weights, criterion_of, require_finite_tensors
from landscape.objective.sharded.function import ShardedFunction
from landscape.objective.weights_digest import tensor_hashes

Fetch = Callable[[str], Tensor]  # a whole tensor of the checkpoint, by its name in the model


def cut_weights(
    model: nn.Module,
    params: tuple[str, ...],
    device: torch.device,
    dtype: torch.dtype,
    loss: Any,
    mode: Mode,
    ranks: Ranks,
    fetch: Fetch | None,
    on_host: bool = False,
) -> Weights:
    """The model as a function of the part of theta that this rank holds; its parameters lose their values.

    The model runs on the device; theta lies there too, or with `on_host` on the host. `fetch` reads the tensors that
    the model itself does not hold. Raises UsageError for what cannot be sharded, and NumericalError for NaN or
    infinity.
    """
    module = unwrap(model)
    if criterion_of(loss, module)[0] is not None:
        raise UsageError("--shard on takes no loss with parameters of its own", fix=UNSHARDED)
    own = dict(module.named_parameters())
    read = fetch or (lambda name: own[name].detach())
    space = ParameterSpace.of(trainable_parameters(module), filter_axes(module)).select(params)
    chosen = set(space.names)
    fixed = {name: parameter for name, parameter in own.items() if name not in chosen}
    measured = Shards(tuple(block.size for block in space.blocks), ranks)
    rest = Shards(tuple(parameter.numel() for parameter in fixed.values()), ranks)
    like = torch.empty(0, dtype=dtype, device=device)
    hashes: dict[str, str] = {}
    home = torch.empty(0, dtype=dtype, device="cpu" if on_host else device)
    theta, held = (_read(read, *part, home, hashes) for part in ((measured, space.names), (rest, tuple(fixed))))
    buffers = {name: _place_buffer(buffer, device, dtype) for name, buffer in module.named_buffers()}
    hashes |= tensor_hashes(buffers)
    weight_norm, places_of = uses_weight_norm(module), _take_values(module, own, like)
    *units, loose = find_units(
        module,
        {id(places_of[name]): index for index, name in enumerate(space.names)},
        {id(places_of[name]): index for index, name in enumerate(fixed)},
    )
    passage = Passage(
        measured,
        rest,
        held,
        anchor=torch.zeros((), dtype=dtype, device=device, requires_grad=True),
        theta=theta,
        having=(True,) * ranks.size,
        shapes=tuple(torch.Size(block.shape) for block in space.blocks),
        fixed_shapes=tuple(places_of[name].shape for name in fixed),
    )
    function = ShardedFunction(
        module,
        space,
        buffers,
        weight_norm=weight_norm,
        mode=mode,
        passage=passage,
        units=tuple(units),
        loose=loose,
    )
    return Weights(function, theta, hashes, ())


def _read(read: Fetch, shards: Shards, names: tuple[str, ...], like: Tensor, hashes: dict[str, str]) -> Tensor:
    """What this rank keeps of the tensors of these names, in one vector; adds their hashes."""
    vector = like.new_zeros(shards.length)
    for index, name in enumerate(names):
        tensor = read(name).to(like.dtype)
        require_finite_tensors({name: tensor}, "weights")
        shards.put(vector, index, tensor)
        hashes |= tensor_hashes({name: tensor})
    return vector


def _place_buffer(buffer: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A copy of a buffer on the device, in the precision of the measurement."""
    return buffer.detach().to(device, dtype if buffer.is_floating_point() else buffer.dtype, copy=True)


def _take_values(module: nn.Module, own: Mapping[str, nn.Parameter], like: Tensor) -> dict[str, AbsentWeight]:
    """Puts parameters without values in the places of a module's own, which lose their memory; returns them.

    They say that they lie on the device of `like`, in its dtype, as those of a measurement with whole weights do.
    """
    new = {id(parameter): absent(parameter, like.device, like.dtype) for parameter in own.values()}
    for part in module.modules():
        for key, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[key] = new[id(parameter)]
    absents = {name: new[id(parameter)] for name, parameter in own.items()}
    for parameter in own.values():
        take_values(parameter)
    return absents
