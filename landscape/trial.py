"""A trial on the first samples of everything that a measurement takes for granted of a model and a loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.batches import Batch, leaves
from landscape.errors import LandscapeError, TaskError, listing
from landscape.losses import FunctionLoss, Loss, as_loss, infer

NOT_A_MEAN = 1e-3  # relative: far above float32 rounding, far below the factor of a sum


def settled_loss(forward: Callable[[Batch], Any], loss: Any, first: Batch) -> Loss:
    """The loss to measure with, inferred from the shapes if None.

    `forward` maps a batch to the model's output, with a graph to the parameters. Raises TaskError if it fails, is
    random, or changes its inputs, and if the loss fails, is no mean over samples, or cuts the graph.
    """
    output = _deterministic_output(forward, first)
    known = list(leaves(output))  # none if the model returns an object of its own
    if known and not any(tensor.requires_grad for tensor in known):
        raise TaskError(
            "the model's output does not depend on the parameters that are measured",
            why="they are not used, or the forward pass runs under no_grad or detaches",
            fix="choose others with --params, or let gradients through",
        )
    chosen = as_loss(loss) if loss is not None else infer(output, first.targets)
    try:
        total = chosen.total(output, first.targets)
    except LandscapeError:
        raise
    except Exception as error:  # the user's loss may raise anything
        raise TaskError(
            f"loss {chosen.name} cannot take the model's output: {type(error).__name__}: {error}",
            why=f"output of {shapes(output)}, targets of {shapes(first.targets)}",
            fix="check --loss, and the targets that --data yields; --debug shows the traceback",
        ) from error
    if not (isinstance(total, Tensor) and total.requires_grad):
        raise TaskError(
            f"loss {chosen.name} has no gradient",
            why="it leaves torch, detaches or rounds",
            fix="compute it with torch",
        )
    if isinstance(chosen, FunctionLoss):
        _require_mean(chosen, forward, first, float(total.detach()))
    return chosen


def shapes(tree: Any) -> str:
    """The shapes and dtypes of the tensors of a batch or an output, for messages."""
    return listing(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in leaves(tree)) or type(tree).__name__


def _deterministic_output(forward: Callable[[Batch], Any], first: Batch) -> Any:
    used = first.map(Tensor.clone)
    try:
        output, again = forward(used), forward(first.map(Tensor.clone))
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            f"the model cannot take the data: {type(error).__name__}: {error}",
            why=f"inputs of {shapes(first.inputs)}",
            fix="check that --data yields (inputs, targets) as the model wants them; --debug shows the traceback",
        ) from error
    if not all(torch.equal(a, b) or a.isnan().any() for a, b in zip(leaves(output), leaves(again), strict=True)):
        raise TaskError(
            "the model gives two different outputs for the same input",
            why="something random is on in eval mode, e.g. functional.dropout without training=self.training",
            fix="make the forward pass deterministic in eval mode",
        )
    pairs = zip(leaves(used.inputs), leaves(first.inputs), strict=True)
    if not all(torch.equal(a, b) or b.isnan().any() for a, b in pairs):
        raise TaskError("the model changes its inputs in place", fix="work on a copy: x = 2 * x instead of x.mul_(2)")
    return output


def _require_mean(loss: FunctionLoss, forward: Callable[[Batch], Any], first: Batch, whole: float) -> None:
    """Raises TaskError if a user's function is not a mean over samples: batches would then change the result."""
    uneven = max(1, 5 * first.size // 8)  # halves could have equal shares of what a mean leaves out
    try:
        parts = [float(loss.total(forward(part), part.targets).detach()) for part in first.split(uneven)]
    except Exception:  # it cannot take a batch of another size; then nothing is known
        return
    together, apart = whole / first.size, sum(parts) / first.size
    # what is not finite is not judged here: the loss over all data will be
    if math.isfinite(together - apart) and abs(together - apart) > NOT_A_MEAN * sum(map(abs, parts)) / first.size:
        raise TaskError(
            f"loss {loss.name} is not a mean over samples: {together:.6g} for {first.size} samples together, "
            f"{apart:.6g} on average in parts",
            why="it returns a sum, a weighted mean, leaves targets out, or depends on other samples of the batch",
            fix="return one loss per sample, shape (N,), or use --loss cross_entropy, which leaves out targets of -100",
        )
