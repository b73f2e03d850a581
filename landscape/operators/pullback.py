"""Vectors pulled back through a graph: one call for each, or one batched call for all of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from landscape import memory
from landscape.errors import TaskError

# Above it the arithmetic outweighs the launching of operations, and batching them gains nothing. On CPUs, 8 columns at
# once: 1.6 to 2 times faster at 0.2 and 1 MB of activations, slower from 5 MB on (digits-mlp, digits-noisy)
BATCHED_BYTES = 2 << 20
NOT_TWICE = (  # what torch says of an operation that can be differentiated only once
    "is not implemented",
    "not differentiable",
    "appears to not have been used",
    "once_differentiable",
)


def pulled_back(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor],
    *,
    bytes: int,
    keep: bool = False,
    allow_unused: bool = False,
) -> list[Tensor]:
    """J'v for K vectors: `vectors` has, for each output, a tensor of K rows; so has the answer for each input.

    `bytes` are what one forward pass keeps for its backward pass; they decide between loop and batch, always in the
    same way, so that results can be repeated to the last bit. `keep` leaves the graph for another call; with
    `allow_unused` inputs that the outputs do not depend on have zeros. Raises TaskError that names an operation without
    a second derivative.
    """
    count = len(vectors[0])
    if count > 1 and count * bytes <= BATCHED_BYTES:
        try:
            return _batched(outputs, inputs, vectors, allow_unused=allow_unused)
        except RuntimeError as error:  # an operation without a rule for it
            if memory.exhausted(error):
                raise
    last = count - 1
    rows = [torch.empty((count, *tensor.shape), dtype=tensor.dtype, device=tensor.device) for tensor in inputs]
    for index in range(count):
        some = [vector[index] for vector in vectors]
        one = _once(outputs, inputs, some, keep=keep or index < last, allow_unused=allow_unused)
        for row, part in zip(rows, one, strict=True):
            row[index] = part
    return rows


def _batched(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor], *, allow_unused: bool
) -> list[Tensor]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        parts = torch.autograd.grad(
            outputs,
            inputs,
            vectors,
            retain_graph=True,
            is_grads_batched=True,
            allow_unused=allow_unused,
        )
    count = len(vectors[0])
    return [x.new_zeros((count, *x.shape)) if part is None else part for part, x in zip(parts, inputs, strict=True)]


def _once(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], vectors: Sequence[Tensor], *, keep: bool, allow_unused: bool
) -> tuple[Tensor, ...]:
    try:
        return torch.autograd.grad(
            outputs, inputs, vectors, retain_graph=keep, allow_unused=allow_unused, materialize_grads=allow_unused
        )
    except RuntimeError as error:
        if not any(words in str(error) for words in NOT_TWICE):
            raise
        raise TaskError(
            f"the model has no second derivative: {str(error).splitlines()[0]}",
            fix="replace that operation, or leave its parameters out with --params; freeze a loss' own parameters",
        ) from error
