"""Running statistics of BatchNorm for other weights than the checkpoint's: interpolated, or recomputed on the data."""

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
    """The names of the running means and variances of all BatchNorm layers."""
    return [f"{name}.{kind}".removeprefix(".") for name in batch_norm_layers(model) for kind in STATISTICS]


@dataclass(frozen=True)
class StatisticsInterpolation:
    """Statistics between those of several models: `(1 - sum t) first + sum t_i others_i`.

    A variance is never below the smallest of the models' variances: extrapolation could make it negative.
    """

    first: Mapping[str, Tensor]
    others: Sequence[Mapping[str, Tensor]]

    def at(self, shares: Sequence[float]) -> dict[str, Tensor]:
        """The statistics by name at the `shares` t_i, one for each of `others`."""
        return {name: self._statistic(name, shares) for name in self.first}

    def _statistic(self, name: str, shares: Sequence[float]) -> Tensor:
        ends = [other[name] for other in self.others]
        mixed = self.first[name] * (1 - sum(shares))
        for share, end in zip(shares, ends, strict=True):
            mixed = mixed + share * end
        if not name.endswith(VARIANCE):
            return mixed
        return torch.maximum(mixed, torch.stack([self.first[name], *ends]).amin(dim=0))


@dataclass
class _Moments:
    """Count, mean `(C,)` and sum of squared deviations `(C,)` of the inputs of a layer."""

    count: float = 0.0
    mean: Any = 0.0
    squares: Any = 0.0

    def add(self, rows: Tensor) -> None:
        """Pools the columns of `rows` (n, C) (Chan, Golub and LeVeque 1979, equation 2.1)."""
        count, mean = len(rows), rows.mean(dim=0)
        squares, difference = (rows - mean).square().sum(dim=0), mean - self.mean
        total = self.count + count
        self.squares = self.squares + squares + difference**2 * (self.count * count / total)
        self.mean = self.mean + difference * (count / total)
        self.count = total


def recompute_statistics(model: nn.Module, passes: Callable[[], Iterable[Any]]) -> None:
    """Overwrites the running statistics of `model` with those of the data that `passes` runs through it.

    During the passes each layer normalizes a batch with the batch's own statistics, as in training. The statistics of
    all batches are pooled, weighted by their sizes: with one batch, the loss is then that of training mode. Raises
    TaskError if no data pass through a layer.
    """
    layers = batch_norm_layers(model)
    moments = {name: _Moments() for name in layers}
    with _batch_statistics(layers, moments):
        for _ in passes():
            pass
    for name, module in layers.items():
        if not moments[name].count:
            raise TaskError(f"no data pass through {name or 'the BatchNorm layer'}", fix="--batch-norm fixed")
        _set_statistics(module, moments[name].mean, moments[name].squares / moments[name].count)


@contextmanager
def _batch_statistics(layers: Mapping[str, _BatchNorm], seen: Mapping[str, _Moments]) -> Iterator[None]:
    """Within the block layers normalize each batch by itself, and `seen` gathers the moments of their inputs."""
    with ExitStack() as hooks:
        for name, module in layers.items():

            def before(layer: Any, inputs: tuple[Tensor, ...], moments: _Moments = seen[name]) -> None:
                """Sets the batch's own statistics, and adds them to the layer's moments."""
                rows = inputs[0].detach().movedim(1, -1).flatten(0, -2).double()
                own = _Moments()
                own.add(rows)
                moments.add(rows)
                _set_statistics(layer, own.mean, own.squares / own.count)

            hooks.callback(module.register_forward_pre_hook(before).remove)
        yield


def _set_statistics(module: Any, mean: Tensor, variance: Tensor) -> None:
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
