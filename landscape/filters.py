"""What the filters of a weight are: the slices of it that make one output each.

A filter of a convolution or a linear layer is a slice along axis 0, its output channels (Li et al. 2018, section 3); a
transposed convolution and GPT-2's Conv1D have their outputs along axis 1. Vectors (biases, normalisation) have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class FilterAxis:
    """The axis along which a tensor's filters lie; with `groups`, each group along axis 0 has its own."""

    axis: int = 0
    groups: int = 1


def filter_axes(model: nn.Module) -> Mapping[str, FilterAxis]:
    """Where a layer's filters are not along axis 0, by the names of parameters."""
    axes = {}
    for path, module in model.named_modules():
        name = f"{path}.weight" if path else "weight"
        if isinstance(module, TRANSPOSED):
            axes[name] = FilterAxis(1, module.groups)
        elif type(module).__name__ == "Conv1D":  # of the transformers library: (inputs, outputs)
            axes[name] = FilterAxis(1)
    return MappingProxyType(axes)


def filter_norms(weight: Tensor, where: FilterAxis) -> Tensor:
    """The Euclidean norm of the filter that each entry belongs to, in the weight's shape; |w| where there are none."""
    if weight.ndim < 2:
        return weight.abs()
    parts = weight.unflatten(0, (where.groups, -1))  # type: ignore[no-untyped-call]
    others = [axis for axis in range(1, parts.ndim) if axis != where.axis + 1]
    norms = torch.linalg.vector_norm(parts, dim=others, keepdim=True)
    spread: Tensor = norms.expand_as(parts).reshape(weight.shape)
    return spread
