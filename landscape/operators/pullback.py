"""Vector-Jacobian products for several vectors: one backward pass for each, or vmapped passes for several."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.errors import LandscapeError, TaskError

# With fewer output entries than this, the scalar u'v is differentiated instead of passing v to torch.autograd.grad.
# The result is the same and costs two more passes over the vectors, but torch checks the shape of v with sympy, whose
# import takes 0.3 s once.
SCALAR_ENTRIES = 1 << 20
INPLACE_MESSAGE = "modified by an inplace operation"  # torch's error if the model wrote into a kept graph
NEEDS_NO_SECOND_DERIVATIVE = (
    "--hvp difference with --operator hessian takes products from gradients; --operator empirical-fisher, if the loss "
    "is a function of (output, target), surface and sharpness need none; or "
)
NO_SECOND_DERIVATIVE_MESSAGES = (  # torch's errors for operations that can be differentiated only once
    "is not implemented",
    "not differentiable",
    "appears to not have been used",
    "once_differentiable",
)


class NoBatchingError(Exception):
    """The graph has an operation without a vmap rule."""


def pull_back(
    outputs: Sequence[Tensor] | Sequence[GradientEdge],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    chunk_size: int = 1,
    retain_graph: bool = False,
    allow_unused: bool = False,
) -> list[Tensor]:
    """J'v for K vectors v: for each output `vectors` holds `(K, *shape)`; the result holds the same for each input.

    An output may be an edge of the graph, which holds no values.

    `chunk_size` vectors share a vmapped call; 1 is a loop. `retain_graph` leaves the graph for another call. With
    `allow_unused`, inputs that the outputs do not depend on get zeros. Raises TaskError with the name of an operation
    without a second derivative, and NoBatchingError for an operation without a vmap rule.
    """
    count = len(vectors[0])
    rows: list[Tensor] = [] if count else [x.new_empty((0, *x.shape)) for x in inputs]
    for first in range(0, count, chunk_size):
        chunk = [vector[first : first + chunk_size] for vector in vectors]
        retain = retain_graph or first + chunk_size < count
        if chunk_size == 1:
            single = [vector[0] for vector in chunk]
            parts = list(_grad(outputs, inputs, single, retain_graph=retain, allow_unused=allow_unused))
        else:
            parts = _vmapped_grad(outputs, inputs, chunk, retain_graph=retain, allow_unused=allow_unused)
        if chunk_size >= count:
            return parts if count > 1 else [part[None] for part in parts]
        rows = rows or [part.new_empty((count, *x.shape)) for part, x in zip(parts, inputs, strict=True)]
        for row, part in zip(rows, parts, strict=True):
            row[first : first + chunk_size] = part
        del parts  # frees this chunk before the next one is computed
    return rows


def _vmapped_grad(
    outputs: Sequence[Tensor] | Sequence[GradientEdge],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    retain_graph: bool,
    allow_unused: bool,
) -> list[Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            parts = torch.autograd.grad(
                outputs, inputs, vectors, retain_graph=retain_graph, is_grads_batched=True, allow_unused=allow_unused
            )
    except Exception as error:  # a user's own backward may raise anything
        if isinstance(error, LandscapeError) or _concerns_memory_or_graph(error):
            raise
        raise NoBatchingError(str(error)) from error
    count = len(vectors[0])
    return [x.new_zeros((count, *x.shape)) if part is None else part for part, x in zip(parts, inputs, strict=True)]


def _grad(
    outputs: Sequence[Tensor] | Sequence[GradientEdge],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    retain_graph: bool,
    allow_unused: bool,
) -> tuple[Tensor, ...]:
    directions: Sequence[Tensor] | None = vectors
    tensors = [output for output in outputs if isinstance(output, Tensor)]
    if len(tensors) == len(outputs) and sum(output.numel() for output in tensors) < SCALAR_ENTRIES:
        with torch.enable_grad():
            parts = [(output * vector).sum() for output, vector in zip(tensors, vectors, strict=True)]
            outputs, directions = [torch.stack(parts).sum()], None
    try:
        return torch.autograd.grad(
            outputs,
            inputs,
            directions,
            retain_graph=retain_graph,
            allow_unused=allow_unused,
            materialize_grads=allow_unused,
        )
    except Exception as error:  # a user's own backward may raise anything
        if isinstance(error, LandscapeError) or _concerns_memory_or_graph(error):
            raise
        missing = any(words in str(error) for words in NO_SECOND_DERIVATIVE_MESSAGES)
        reason = (str(error).splitlines() or [""])[0]
        raise TaskError(
            f"the model, or the loss, has no second derivative: {reason}"
            if missing
            else f"the second derivative fails: {type(error).__name__}: {reason}",
            fix=(NEEDS_NO_SECOND_DERIVATIVE if missing else "--hvp difference with --operator hessian; or ")
            + "replace that operation, or leave its parameters out with --params; --debug shows the traceback",
        ) from error


def _concerns_memory_or_graph(error: Exception) -> bool:
    """Whether a caller may go on otherwise after this error: with less memory, or with a new graph."""
    if not isinstance(error, RuntimeError):
        return False
    return is_out_of_memory(error) or INPLACE_MESSAGE in str(error)
