"""A metric that a user measures beside the loss: a function of outputs and targets that is a mean over samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from landscape.data.batches import Batch
from landscape.errors import LandscapeError, TaskError
from landscape.losses.builtin import BUILT_IN_LOSSES
from landscape.losses.protocol import Loss
from landscape.losses.user import as_loss
from landscape.plugins.imports import import_object


def as_metric(metric: Any) -> Loss:
    """The metric meant by a function, by `pkg.mod:function`, or by anything that names a loss.

    A function `(output, target)` returns a batch's mean, as a number or `()`, or one value for each sample `(N,)`.
    """
    if not isinstance(metric, str) or metric in BUILT_IN_LOSSES:
        return as_loss(metric)
    if ":" not in metric:
        fix = "--metric pkg.mod:function, or path/file.py:function"
        raise TaskError(f"there is no metric called {metric}", fix=fix)
    return as_loss(import_object(metric))


def metric_total(metric: Loss, output: Any, batch: Batch) -> Tensor:
    """The metric summed over a batch, `()`, float64; raises TaskError for any exception of the user's code."""
    try:
        return metric.total(output, batch.targets).double()
    except LandscapeError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise TaskError(
            f"metric {metric.name} fails on a batch: {type(error).__name__}: {error}",
            fix="def metric(output, target) -> a batch's mean, or one value for each sample; --debug shows more",
        ) from error
