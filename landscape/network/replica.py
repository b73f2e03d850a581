"""A private copy of a model whose parameters are views of one vector: writing into the vector moves the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from landscape.network.space import ParameterSpace


def replica(model: nn.Module, space: ParameterSpace, vector: Tensor, fixed: Mapping[str, Tensor]) -> nn.Module | None:
    """The copy, in eval mode, without gradients; None if the model cannot be copied so.

    Its parameters in `space` are views of `vector` `(P,)`; `fixed` gives the others and the buffers by name, which are
    copied.
    """
    wanted: dict[str, Tensor] = dict(space.unflatten(vector))
    stand_ins: dict[int, object] = {}
    for name, parameter in model.named_parameters():
        wanted.setdefault(name, fixed[name].clone() if name in fixed else parameter)
        stand_ins[id(parameter)] = nn.Parameter(wanted[name], requires_grad=False)
    for name, buffer in model.named_buffers():
        wanted[name] = stand_ins[id(buffer)] = fixed[name].clone()
    try:
        copied = copy.deepcopy(model, stand_ins)
    except Exception:  # the user's module may refuse in any way
        return None
    kept = {id(module) for module in model.modules()}
    if any(id(module) in kept for module in copied.modules()):  # a __deepcopy__ of its own gave the original back
        return None
    tensors = dict(copied.named_parameters()) | dict(copied.named_buffers())
    if any(tensors.get(name) is None or tensors[name].data_ptr() != t.data_ptr() for name, t in wanted.items()):
        return None
    for module in copied.modules():
        module.training = False
    return copied
