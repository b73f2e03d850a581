"""The change of the weights as vectors: symmetric rounding to nearest, and pruning of the smallest scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.analyses.sensitivity.weight_changes import Granularity, WeightChange
from landscape.network.filters import FilterAxis, filter_rows, from_filter_rows
from landscape.network.space import ParameterGroup
from landscape.objective import Objective


@dataclass(frozen=True)
class ChangeVectors:
    """The vectors d `(P,)` by which each kind of change moves the weights of the layers.

    `saliency` `(P,)` are the scores by which weights are pruned, the smallest first; None for their magnitudes.
    """

    objective: Objective
    layers: Sequence[ParameterGroup]
    granularity: Granularity
    saliency: Tensor | None = None

    def all_layers(self, change: WeightChange) -> Tensor:
        """The change of all layers at once, `(P,)`; 0 at parameters that belong to none of them."""
        return self._rounding(change.bits) if change.bits else self._pruning(change.share)

    def mix(self, changes: Sequence[WeightChange]) -> Tensor:
        """The change `(P,)` that changes each layer in its own way: `changes` has one for each of them."""
        vector = torch.zeros_like(self.objective.theta)
        for change in dict.fromkeys(changes):
            whole = self.all_layers(change)
            for layer, own in zip(self.layers, changes, strict=True):
                if own == change:
                    copy_part(layer, whole, vector)
        return vector

    def _rounding(self, bits: int) -> Tensor:
        """The rounding errors of all weights that change."""
        vector, names = torch.zeros_like(self.objective.theta), {n for layer in self.layers for n in layer.names}
        moves, weights = (self.objective.space.unflatten(v) for v in (vector, self.objective.theta))
        for block in self.objective.space.blocks:
            if block.name in names and block.size:
                weight = weights[block.name]
                moves[block.name].copy_(round_weight(weight, bits, self.granularity, block.filters) - weight)
        return vector

    def _pruning(self, share: float) -> Tensor:
        """Minus the weights of lowest score, the same share of every layer."""
        theta = self.objective.theta
        scores, vector = theta.abs() if self.saliency is None else self.saliency, torch.zeros_like(theta)
        for layer in self.layers:
            pruned = lowest(torch.cat(layer.of(scores)), share)
            parts = torch.split(pruned, [end - begin for begin, end in layer.ranges])
            for move, weight, mask in zip(layer.of(vector), layer.of(theta), parts, strict=True):
                move.copy_(torch.where(mask, -weight, 0.0))
        return vector


def copy_part(layer: ParameterGroup, source: Tensor, target: Tensor) -> None:
    """Copies the entries of one layer from a vector `(P,)` to another."""
    for there, here in zip(layer.of(target), layer.of(source), strict=True):
        there.copy_(here)


def lowest(scores: Tensor, share: float) -> Tensor:
    """The mask `(n,)` of the share of lowest scores `(n,)`, rounded to a whole number; of equal ones the first."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask[torch.argsort(scores, stable=True)[: round(share * len(scores))]] = True
    return mask


def round_weight(weight: Tensor, bits: int, granularity: Granularity, filters: FilterAxis) -> Tensor:
    """The weight on the symmetric grid of 2^bits - 1 points that the largest of the weights with one scale spans."""
    if not granularity.by_channel:
        return round_rows(weight.reshape(1, -1), bits).reshape(weight.shape)
    rows = filter_rows(weight, filters)
    rows = rows.reshape(len(rows), -1)  # a single number has no rows yet
    rounded = round_groups(rows, bits, granularity.group) if granularity.group else round_rows(rows, bits)
    return from_filter_rows(rounded, tuple(weight.shape), filters)


def round_groups(rows: Tensor, bits: int, size: int) -> Tensor:
    """Rounds `(R, q)` with one scale for each `size` consecutive entries of a row; the last group may be smaller."""
    pieces = [round_rows(piece, bits) for piece in torch.split(rows, size, dim=1)]
    return torch.cat(pieces, dim=1)


def round_rows(rows: Tensor, bits: int) -> Tensor:
    """Rounds the entries of `(R, q)` to the nearest of k s with |k| <= 2^(bits-1) - 1, s that of the largest |entry|.

    Ties go to even k, as in torch's fake quantization. A row of zeros stays as it is.
    """
    steps = 2 ** (bits - 1) - 1
    scale = rows.abs().amax(dim=1, keepdim=True) / steps
    levels = torch.where(scale > 0, rows / scale, 0.0).round().clamp(-steps, steps)
    rounded: Tensor = levels * scale
    return rounded
