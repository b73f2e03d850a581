"""A private copy of a model whose parameters are views of one vector: writing into the vector moves the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from landscape.network.space import ParameterSpace


def replica(model: nn.Module, space: ParameterSpace, vector: Tensor, fixed: Mapping[str, Tensor]) -> nn.Module | None:
    """A copy of the model in eval mode, without gradients; None if the model cannot be copied so.

    The copy's parameters in `space` are views of `vector` `(P,)`. Its other parameters and its buffers are copies of
    those in `fixed`.
    """
    intended: dict[str, Tensor] = dict(space.unflatten(vector))
    stand_ins: dict[int, object] = {}
    for name, parameter in model.named_parameters():
        intended.setdefault(name, fixed[name].clone() if name in fixed else parameter)
        stand_ins[id(parameter)] = nn.Parameter(intended[name], requires_grad=False)
    for name, buffer in model.named_buffers():
        intended[name] = stand_ins[id(buffer)] = fixed[name].clone()
    try:
        copied = copy.deepcopy(model, stand_ins)
    except Exception:  # the user's module may refuse in any way
        return None
    originals = {id(module) for module in model.modules()}
    if any(id(module) in originals for module in copied.modules()):  # a user's __deepcopy__ returned the original
        return None
    tensors = dict(copied.named_parameters()) | dict(copied.named_buffers())
    if any(tensors.get(name) is None or tensors[name].data_ptr() != t.data_ptr() for name, t in intended.items()):
        return None
    for module in copied.modules():
        module.training = False
    return copied
