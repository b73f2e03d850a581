"""Loggers of trainings as functions of numbers and a step: whatever object the user has, known by its methods."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from landscape.errors import UsageError
from landscape.history import STEP, History
from landscape.history.views import flat_columns

Log = Callable[[dict[str, float], int], Any]

PREFIX = "landscape/"
REFUSED = re.compile(r"[^\w./-]+")  # by TensorBoard, or by MLflow
ACCEPTED = (
    "a SummaryWriter, a run of W&B, the module mlflow, a logger of Lightning, a function of (values, step), "
    "or a list of them"
)


def log_functions(logger: Any) -> list[Log]:
    """What logs numbers by name at a step, for a logger or for each of a list; none for None.

    Raises UsageError for an object that has no method which could take them.
    """
    if logger is None:
        return []
    if isinstance(logger, list | tuple):
        return [function for each in logger for function in log_functions(each)]
    return [_log_function(logger)]


def _log_function(logger: Any) -> Log:
    if hasattr(logger, "add_scalar"):  # SummaryWriter
        return partial(_add_scalars, logger)
    if hasattr(logger, "log_metrics"):
        is_mlflow = hasattr(logger, "active_run") and hasattr(logger, "start_run")
        return partial(_log_to_active_run if is_mlflow else _log_metrics, logger)
    if hasattr(logger, "log") and not isinstance(logger, logging.Logger):  # W&B
        return partial(_log, logger)
    if callable(logger):
        function: Log = logger
        return function
    raise UsageError(f"a {type(logger).__name__} is no logger of numbers", fix=ACCEPTED)


def _add_scalars(writer: Any, values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
        writer.add_scalar(name, value, step)


def _log_metrics(logger: Any, values: Mapping[str, float], step: int) -> None:
    logger.log_metrics(dict(values), step=step)


def _log_to_active_run(mlflow: Any, values: Mapping[str, float], step: int) -> None:
    """Raises UsageError without a run: MLflow would begin one, which is in the way of the training's own."""
    if mlflow.active_run() is None:
        raise UsageError("mlflow has no active run", fix="mlflow.start_run() around the training")
    _log_metrics(mlflow, values, step)


def _log(run: Any, values: Mapping[str, float], step: int) -> None:
    run.log(dict(values), step=step)


def scalars_of(history: History) -> dict[str, float]:
    """The finite numbers at the last step of a history, by names that every logger takes.

    `eig.eigenvalues[0]` is `landscape/eig.eigenvalues.0`. NaN and infinity, which stand for numbers that are missing,
    are left out.
    """
    found = {}
    for name, column in flat_columns(history):
        if name != STEP and column.dtype.kind in "fiu" and math.isfinite(column[-1]):
            found[logged_name(name)] = float(column[-1])
    return found


def logged_name(name: str) -> str:
    """The name of a quantity in a logger.

    >>> logged_name("eig.eigenvalues[0]"), logged_name("trace.layer_trace[fc1]")
    ('landscape/eig.eigenvalues.0', 'landscape/trace.layer_trace.fc1')
    """
    plain = name.replace(", ", ".").replace("[", ".").replace("]", "")
    return PREFIX + REFUSED.sub("_", plain)
