"""Errors of the user's code become errors of the task; those of landscape and of memory stay what they are."""

from __future__ import annotations

import pytest
import torch

from landscape.data.batches import Batch
from landscape.errors import TaskError
from landscape.objective.user_errors import reraise_user_errors


def fail(error: Exception) -> None:
    raise error


def test_the_error_names_the_shapes_of_the_batch() -> None:
    batch = Batch(torch.zeros(2, 3), torch.zeros(2), 0)
    with pytest.raises(TaskError, match=r"fails on a batch: ValueError: odd\n.*\(2, 3\).*\(2,\)"):
        reraise_user_errors(batch, lambda: fail(ValueError("odd")))
    with pytest.raises(TaskError, match=r"the objective fails on a batch: ValueError: odd\n.*\(2, 3\)"):
        reraise_user_errors(Batch(torch.zeros(2, 3), None, 0), lambda: fail(ValueError("odd")))
    assert reraise_user_errors(batch, lambda: 3) == 3


def test_errors_of_landscape_and_of_memory_pass() -> None:
    batch = Batch(torch.zeros(2, 3), torch.zeros(2), 0)
    with pytest.raises(TaskError, match="^own"):
        reraise_user_errors(batch, lambda: fail(TaskError("own", fix="none")))
    with pytest.raises(RuntimeError, match="out of memory"):
        reraise_user_errors(batch, lambda: fail(RuntimeError("CUDA out of memory")))
