"""Errors of the user's model and loss on a batch, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.data.batches import Batch
from landscape.errors import LandscapeError, TaskError
from landscape.losses.preflight import shapes

T = TypeVar("T")


def reraise_user_errors(batch: Batch, work: Callable[[], T]) -> T:
    """Runs `work`; any exception of the user's code becomes a TaskError with the batch's shapes."""
    try:
        return work()
    except LandscapeError:
        raise
    except Exception as error:  # the user's model and loss may raise anything
        if is_out_of_memory(error):
            raise
        raise _user_error(batch, error) from error


def _user_error(batch: Batch, error: Exception) -> TaskError:
    """The error for an exception of the user's code; the batches of an objective have no targets."""
    raised = f"{type(error).__name__}: {error}"
    if batch.targets is None:
        return TaskError(
            f"the objective fails on a batch: {raised}",
            why=f"a batch of {shapes(batch.inputs)}",
            fix="check what --data yields there, and the function; --debug shows the traceback",
        )
    return TaskError(
        f"the model or the loss fails on a batch: {raised}",
        why=f"inputs of {shapes(batch.inputs)}, targets of {shapes(batch.targets)}",
        fix="check the targets' range and dtype, --loss, and the model; --debug shows the traceback",
    )
