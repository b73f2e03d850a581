"""A copy of an objective's parameters that moves from point to point, and of its model, which computes with them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.data.batches import Batch
from landscape.errors import UsageError
from landscape.evaluation.forward_batches import data_batches
from landscape.evaluation.replica_check import tracks_weights
from landscape.network.batch_norm import StatisticsInterpolation, recompute_statistics
from landscape.objective import Objective

# Interpolated statistics with the shares of each other model at unit coordinates (directions x models), or "recompute"
Statistics = tuple[StatisticsInterpolation, np.ndarray] | str


class WorkingCopy:
    """One vector `(P,)` that is overwritten, and a replica of the model that reads it; the user's model stays as it is.

    `replica` is None for a model that cannot be copied, or whose copy still uses the original's weights.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.vector = objective.theta.clone()
        replica = objective.replica(self.vector)
        self.replica = replica if replica is not None and tracks_weights(replica, self.vector) else None
        self.channels_last = False

    @cached_property
    def convolutions(self) -> set[str]:
        """The names of the weights that may lie channels-last."""
        if self.replica is None:
            return set()
        modules = self.replica.model.named_modules()
        names = {name for name, module in modules if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)}
        return {f"{name}.weight".removeprefix(".") for name in names} & set(self.objective.space.names)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Views of the vector by name; with `channels_last` those of convolutions in the order of that layout."""
        views = self.objective.space.unflatten(self.vector)
        if not self.channels_last:
            return views
        return {name: _as_channels_last(view) if name in self.convolutions else view for name, view in views.items()}

    def use_layout(self, *, channels_last: bool) -> None:
        """Chooses the layout of convolutions' weights in the vector; the next `move_to` fills it in."""
        self.channels_last = channels_last
        if self.replica is not None:
            tensors = self.tensors
            for name, parameter in self.replica.model.named_parameters():
                if name in tensors:
                    parameter.data = tensors[name]

    def move_to(self, directions: Sequence[Tensor], point: Sequence[float]) -> None:
        """Writes theta + sum of coordinates times directions into the vector."""
        if not self.channels_last:
            origin = self.objective.theta
            for direction, coordinate in zip(directions, point, strict=True):
                torch.add(origin, direction, alpha=float(coordinate), out=self.vector)
                origin = self.vector
            return
        origins = self.objective.space.unflatten(self.objective.theta)
        moves = [self.objective.space.unflatten(direction) for direction in directions]
        for name, tensor in self.tensors.items():
            tensor.copy_(origins[name])
            for move, coordinate in zip(moves, point, strict=True):
                tensor.add_(move[name], alpha=float(coordinate))

    def use_statistics(self, statistics: Statistics, point: Sequence[float]) -> None:
        """Writes BatchNorm's running statistics of this point into the replica; raises UsageError without one."""
        if self.replica is None:
            raise UsageError(
                "the model cannot be copied, so that its statistics cannot change", fix="--batch-norm fixed"
            )
        model = self.replica.model
        if isinstance(statistics, str):
            recompute_statistics(model, lambda: (self.output(batch) for batch in data_batches(self.objective)))
            return
        interpolation, shares = statistics
        buffers = dict(model.named_buffers())
        for name, values in interpolation.at((np.asarray(point) @ shares).tolist()).items():
            buffers[name].copy_(values)

    def output(self, batch: Batch) -> Any:
        """The part of the model's output at the current point that the loss takes."""
        return self.output_and_total(batch)[0]

    def output_and_total(self, batch: Batch) -> tuple[Any, Tensor]:
        """That output, and the summed loss `()` of the batch at the current point."""
        if self.replica is None:
            return self.objective.output_and_total(self.vector, batch)
        output = self.replica.output(batch)
        total = self.objective.loss_total(output, batch)
        return output, total + self.objective.decay_total(self.vector, batch) if self.objective.decay else total


def _as_channels_last(view: Tensor) -> Tensor:
    """The same memory as a tensor of the same shape whose channels lie innermost."""
    outputs, inputs, height, width = view.shape
    return view.reshape(-1).view(outputs, height, width, inputs).permute(0, 3, 1, 2)
