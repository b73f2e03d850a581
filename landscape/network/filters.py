"""The filters of a weight: the slices that compute one output each.

A filter of a convolution or a linear layer is a slice along axis 0, its output channels (Li et al. 2018, section 3); a
transposed convolution and GPT-2's Conv1D have their outputs along axis 1. Vectors (biases, normalization) have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

# a weight, plain or parametrized (the direction of weight_norm among them)
WEIGHTS = ("weight", "parametrizations.weight.original", "parametrizations.weight.original1", "weight_v")
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class FilterAxis:
    """The axis along which a tensor's filters lie; with `groups`, each group along axis 0 has its own."""

    axis: int = 0
    groups: int = 1


def filter_axes(model: nn.Module) -> Mapping[str, FilterAxis]:
    """The filter axes that are not axis 0, by the names of parameters."""
    axes: dict[str, FilterAxis] = {}
    for path, module in model.named_modules():
        where = _filter_axis(module)
        if where is not None:
            axes |= dict.fromkeys((f"{path}.{name}".removeprefix(".") for name in WEIGHTS), where)
    return MappingProxyType(axes)


def _filter_axis(module: nn.Module) -> FilterAxis | None:
    """The filter axis of a module's weight, or None if it is axis 0."""
    if isinstance(module, TRANSPOSED):
        return FilterAxis(1, module.groups)
    kind = type(module)
    if kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers."):  # (inputs, outputs)
        return FilterAxis(1)
    return None


def filter_rows(weight: Tensor, where: FilterAxis) -> Tensor:
    """The weight as a matrix `(filters, entries)`; a vector is one row."""
    if weight.ndim < 2:
        return weight[None]
    parts = weight.unflatten(0, (where.groups, -1)).movedim(where.axis + 1, 1)  # type: ignore[no-untyped-call]
    rows: Tensor = parts.flatten(0, 1).flatten(1)
    return rows


def from_filter_rows(rows: Tensor, shape: tuple[int, ...], where: FilterAxis) -> Tensor:
    """The weight of that shape whose `filter_rows` are these."""
    if len(shape) < 2:
        return rows.reshape(shape)
    parts = torch.empty(shape, device="meta").unflatten(0, (where.groups, -1)).movedim(where.axis + 1, 1)  # type: ignore[no-untyped-call]
    weight: Tensor = rows.reshape(parts.shape).movedim(1, where.axis + 1).flatten(0, 1)
    return weight


def match_filter_norms(move: Tensor, weight: Tensor, where: FilterAxis) -> None:
    """Scales each filter of `move` in place to the norm of the same filter of `weight`; a filter of 0 stays 0."""
    (parts, norms), (_, weight_norms) = _norms_by_group(move, where), _norms_by_group(weight, where)
    parts.mul_(torch.where(norms > 0, weight_norms / norms, 0.0))


def filter_norms(weight: Tensor, where: FilterAxis) -> Tensor:
    """The Euclidean norm of the filter that each entry belongs to, in the weight's shape; |w| for a vector."""
    if weight.ndim < 2:
        return weight.abs()
    parts, norms = _norms_by_group(weight, where)
    spread: Tensor = norms.expand_as(parts).reshape(weight.shape)
    return spread


def _norms_by_group(weight: Tensor, where: FilterAxis) -> tuple[Tensor, Tensor]:
    """A view of the weight with its groups as axis 0, and the norms of its filters, which broadcast to the view."""
    parts = weight.unflatten(0, (where.groups, -1))  # type: ignore[no-untyped-call]
    others = [axis for axis in range(1, parts.ndim) if axis != where.axis + 1]
    return parts, torch.linalg.vector_norm(parts, dim=others, keepdim=True)
