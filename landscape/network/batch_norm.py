"""The running statistics of BatchNorm away from the weights that they belong to: interpolated, or computed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.errors import TaskError

MEAN, VARIANCE = "running_mean", "running_var"
STATISTICS = (MEAN, VARIANCE)


def batch_norm_layers(model: nn.Module) -> dict[str, _BatchNorm]:
    """The BatchNorm layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def statistic_names(model: nn.Module) -> list[str]:
    """The names of their running means and variances."""
    return [f"{name}.{kind}".removeprefix(".") for name in batch_norm_layers(model) for kind in STATISTICS]


@dataclass(frozen=True)
class StatisticsInterpolation:
    """Statistics between those of several models: `(1 - sum t) first + sum t_i others_i`.

    Beyond the models a variance is held at the smallest of theirs, lest it become negative.
    """

    first: Mapping[str, Tensor]
    others: Sequence[Mapping[str, Tensor]]

    def at(self, shares: Sequence[float]) -> dict[str, Tensor]:
        """The statistics by name; `shares` t_i, one for each of the others."""
        return {name: self._one(name, shares) for name in self.first}

    def _one(self, name: str, shares: Sequence[float]) -> Tensor:
        ends = [other[name] for other in self.others]
        mixed = self.first[name] * (1 - sum(shares))
        for share, end in zip(shares, ends, strict=True):
            mixed = mixed + share * end
        if not name.endswith(VARIANCE):
            return mixed
        return torch.maximum(mixed, torch.stack([self.first[name], *ends]).amin(dim=0))


@dataclass
class _Moments:
    """Count, mean `(C,)` and sum of squared deviations `(C,)` of what a layer has seen."""

    count: float = 0.0
    mean: Any = 0.0
    squares: Any = 0.0

    def add(self, rows: Tensor) -> None:
        """Pools the columns of `rows` (n, C) (Chan, Golub and LeVeque 1979, equation 2.1)."""
        count, mean = len(rows), rows.mean(dim=0)
        squares, apart = (rows - mean).square().sum(dim=0), mean - self.mean
        together = self.count + count
        self.squares = self.squares + squares + apart**2 * (self.count * count / together)
        self.mean = self.mean + apart * (count / together)
        self.count = together


def recompute_statistics(model: nn.Module, passes: Callable[[], Iterable[Any]]) -> None:
    """Overwrites the running statistics of `model` with those of the data that `passes` runs through it.

    Batch by batch each layer normalises with the batch's own statistics, as in training, and what it has seen is
    pooled over all batches, weighted by their sizes: with one batch, the loss is then that of training mode.
    """
    layers = batch_norm_layers(model)
    seen = {name: _Moments() for name in layers}
    with _own_statistics(layers, seen):
        for _ in passes():
            pass
    for name, module in layers.items():
        if not seen[name].count:
            raise TaskError(f"no data pass through {name or 'the BatchNorm layer'}", fix="--batch-norm fixed")
        _set(module, seen[name].mean, seen[name].squares / seen[name].count)


@contextmanager
def _own_statistics(layers: Mapping[str, _BatchNorm], seen: Mapping[str, _Moments]) -> Iterator[None]:
    """Layers normalise each batch by itself, and `seen` gathers their inputs."""
    with ExitStack() as hooks:
        for name, module in layers.items():

            def before(layer: Any, inputs: tuple[Tensor, ...], moments: _Moments = seen[name]) -> None:
                rows = inputs[0].detach().movedim(1, -1).flatten(0, -2).double()
                own = _Moments()
                own.add(rows)
                moments.add(rows)
                _set(layer, own.mean, own.squares / own.count)

            hooks.callback(module.register_forward_pre_hook(before).remove)
        yield


def _set(module: Any, mean: Tensor, variance: Tensor) -> None:
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
