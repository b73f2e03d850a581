"""A private copy of a model whose parameters are views of one vector: writing into the vector moves the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from landscape.space import ParameterSpace


def replica(model: nn.Module, space: ParameterSpace, vector: Tensor, fixed: Mapping[str, Tensor]) -> nn.Module | None:
    """The copy, in eval mode, without gradients; None if the model cannot be copied so.

    Its parameters in `space` are views of `vector` `(P,)`; `fixed` gives the others and the buffers by name, which are
    copied.
    """
    views = space.unflatten(vector)
    stand_ins: dict[int, object] = {}
    for name, parameter in model.named_parameters():
        tensor = views[name] if name in views else fixed[name].clone()
        stand_ins[id(parameter)] = nn.Parameter(tensor, requires_grad=False)
    for name, buffer in model.named_buffers():
        stand_ins[id(buffer)] = fixed[name].clone()
    try:
        copied = copy.deepcopy(model, stand_ins)
    except Exception:  # the user's module may refuse in any way
        return None
    for module in copied.modules():
        module.training = False
    places = {name: parameter.data_ptr() for name, parameter in copied.named_parameters()}
    return copied if all(places.get(name) == view.data_ptr() for name, view in views.items()) else None
