"""Vectors pulled back through a graph: one call for each, or batched calls for several."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from landscape.compute import memory
from landscape.errors import TaskError

# Numbers below which the derivative of u'v is taken, a number, rather than J'v: it is the same, costs two passes over
# the vectors, and spares torch the import of sympy, with which it checks the shapes of v: .3 s once
SUMMED = 1 << 20
WRITTEN = "modified by an inplace operation"  # what torch says of a kept graph into which the model wrote
NOT_TWICE = (  # what torch says of an operation that can be differentiated only once
    "is not implemented",
    "not differentiable",
    "appears to not have been used",
    "once_differentiable",
)


class NoBatchingError(Exception):
    """The graph has an operation without a rule for several vectors at once."""


def pull_back(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    together: int = 1,
    keep: bool = False,
    allow_unused: bool = False,
) -> list[Tensor]:
    """J'v for K vectors: `vectors` has, for each output, a tensor of K rows; so has the answer for each input.

    `together` of them share a call (1: a loop over all). `keep` leaves the graph for another call; with `allow_unused`
    inputs that the outputs do not depend on have zeros. Raises TaskError that names an operation without a second
    derivative, and NoBatchingError for one that cannot take several vectors at once.
    """
    count = len(vectors[0])
    rows: list[Tensor] = [] if count else [x.new_empty((0, *x.shape)) for x in inputs]
    for first in range(0, count, together):
        some = [vector[first : first + together] for vector in vectors]
        last = first + together >= count
        if together == 1:
            alone = [vector[0] for vector in some]
            parts = list(_once(outputs, inputs, alone, keep=keep or not last, allow_unused=allow_unused))
        else:
            parts = _batched(outputs, inputs, some, keep=keep or not last, allow_unused=allow_unused)
        if together >= count > 1:
            return parts
        rows = rows or [part.new_empty((count, *x.shape)) for part, x in zip(parts, inputs, strict=True)]
        for row, part in zip(rows, parts, strict=True):
            row[first : first + together] = part
        del parts
    return rows


def _batched(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor], *, keep: bool, allow_unused: bool
) -> list[Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            parts = torch.autograd.grad(
                outputs, inputs, vectors, retain_graph=keep, is_grads_batched=True, allow_unused=allow_unused
            )
    except RuntimeError as error:
        if memory.is_out_of_memory(error) or WRITTEN in str(error):
            raise
        raise NoBatchingError(str(error)) from error
    count = len(vectors[0])
    return [x.new_zeros((count, *x.shape)) if part is None else part for part, x in zip(parts, inputs, strict=True)]


def _once(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor], *, keep: bool, allow_unused: bool
) -> tuple[Tensor, ...]:
    along: Sequence[Tensor] | None = vectors
    if sum(output.numel() for output in outputs) < SUMMED:
        with torch.enable_grad():
            parts = [(output * vector).sum() for output, vector in zip(outputs, vectors, strict=True)]
            outputs, along = [torch.stack(parts).sum()], None
    try:
        return torch.autograd.grad(
            outputs, inputs, along, retain_graph=keep, allow_unused=allow_unused, materialize_grads=allow_unused
        )
    except RuntimeError as error:
        if not any(words in str(error) for words in NOT_TWICE):
            raise
        raise TaskError(
            f"the model has no second derivative: {str(error).splitlines()[0]}",
            fix="replace that operation, or leave its parameters out with --params; freeze a loss' own parameters",
        ) from error
