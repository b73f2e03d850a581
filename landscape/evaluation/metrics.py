"""What a user measures beside the loss: a function of outputs and targets whose mean over samples is meant."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import LandscapeError, TaskError
from landscape.losses.loss import BY_NAME, FunctionLoss, Loss, as_loss
from landscape.plugins.imports import import_object

NOT_A_MEAN = 1e-3  # relative: far above float32 rounding, far below the factor of a sum


def as_metric(given: Any) -> Loss:
    """The metric meant by a function, `pkg.mod:function`, or whatever a loss may be named by.

    A function `(output, target)` returns a batch's mean, as a number or `()`, or one value for each sample `(N,)`.
    """
    if isinstance(given, str) and ":" not in given and given not in BY_NAME:
        raise TaskError(f"there is no metric called {given}", fix="--metric pkg.mod:function, or path/file.py:function")
    found = import_object(given) if isinstance(given, str) and ":" in given else given
    metric = as_loss(found)
    if not isinstance(metric, FunctionLoss):
        return metric
    function = metric.function
    return FunctionLoss(lambda output, target: torch.as_tensor(function(output, target)), metric.name)


def metric_total(metric: Loss, output: Any, batch: Batch) -> Tensor:
    """The metric summed over a batch, `()`, float64; raises TaskError for whatever the user's own code raises."""
    try:
        return metric.total(output, batch.targets).double()
    except LandscapeError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise TaskError(
            f"metric {metric.name} fails on a batch: {type(error).__name__}: {error}",
            fix="def metric(output, target) -> a batch's mean, or one value for each sample; --debug shows more",
        ) from error


def require_mean(metric: Loss, forward: Callable[[Batch], Any], batch: Batch) -> None:
    """Raises TaskError if the metric of a batch is not the mean over its parts: it would depend on batches."""
    uneven = max(1, 5 * batch.size // 8)

    def mean(pieces: list[Batch]) -> float:
        totals = [float(metric_total(metric, forward(piece), piece)) for piece in pieces]
        return sum(totals) / sum(metric.count(piece.targets) for piece in pieces)

    together, apart = mean([batch]), mean(list(batch.split(uneven)))
    if math.isfinite(together - apart) and abs(together - apart) > NOT_A_MEAN * max(abs(together), abs(apart)):
        raise TaskError(
            f"metric {metric.name} is not a mean over samples: {together:.6g} for {batch.size} together, "
            f"{apart:.6g} in parts",
            why="it returns a sum, or depends on the other samples of a batch",
            fix="return one value for each sample, shape (N,)",
        )
