"""The output of the first samples: the model takes them, gives the same twice, and leaves its inputs alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data.batches import Batch, leaves
from landscape.errors import TaskError, listing
from landscape.losses.preflight import shapes
from landscape.network.state import attribute_changes, plain_state

OUTPUT_RTOL = 1e-4  # of the largest output: far above float32 rounding, far below the effect of dropout
EXPORT_WITH_FREE_SIZE = (
    "export the program for any number of samples: torch.export.export(model, (x,), "
    "dynamic_shapes=({0: torch.export.Dim('samples')},))"
)


def require_deterministic_output(model: nn.Module, forward: Callable[[Batch], Any], first: Batch) -> Any:
    """The model's output on the first samples; raises TaskError if it fails, is random, or changes its inputs."""
    used, attributes = first.map(Tensor.clone), plain_state(model)
    try:
        output, again = forward(used), forward(first.map(Tensor.clone))
    except Exception as error:  # the user's model may raise anything
        raise TaskError(
            f"the model cannot take the data: {type(error).__name__}: {error}",
            why=f"inputs of {shapes(first.inputs)}{_describe_names(first.inputs)}",
            fix=EXPORT_WITH_FREE_SIZE
            if "Guard failed" in str(error)  # the message of a program of torch.export
            else "check that --data yields (inputs, targets) as the model wants them; --debug shows the traceback",
        ) from error
    if not all(_equal_but_for_rounding(a, b) for a, b in zip(leaves(output), leaves(again), strict=True)):
        changed = attribute_changes(model, attributes)
        raise TaskError(
            "the model gives two different outputs for the same input",
            why=f"it keeps state from pass to pass: {listing(changed)}"
            if changed
            else "something random is on in eval mode, e.g. functional.dropout without training=self.training",
            fix="make the forward pass deterministic in eval mode",
        )
    pairs = zip(leaves(used.inputs), leaves(first.inputs), strict=True)
    if not all(torch.equal(a, b) or b.isnan().any() for a, b in pairs):
        raise TaskError("the model changes its inputs in place", fix="work on a copy: x = 2 * x instead of x.mul_(2)")
    return output


def _describe_names(inputs: Any) -> str:
    named = f", given by name: {listing(inputs)}" if isinstance(inputs, dict) else ""
    return f"{named}; a batch of two is a pair if they are called inputs and targets, or x and y" if named else ""


def _equal_but_for_rounding(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs agree: where buffers begin in memory may change the order of a sum."""
    if one.shape != other.shape or torch.equal(one, other) or bool(one.isnan().any()):
        return one.shape == other.shape
    if not one.is_floating_point():
        return False
    finite = one.isfinite() & other.isfinite()
    gap, scale = (one - other)[finite].abs(), one[finite].abs()
    return bool((one == other)[~finite].all()) and bool(gap.max() <= OUTPUT_RTOL * scale.max())
