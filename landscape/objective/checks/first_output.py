"""The output of the first samples: the model takes them, gives the same twice, and leaves its inputs alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data.batches import Batch
from landscape.data.trees import dense_leaves, leaves
from landscape.errors import LandscapeError, TaskError, listing
from landscape.losses.preflight import shapes
from landscape.losses.terms import describe_objective
from landscape.network.state import attribute_changes, plain_state

OUTPUT_RTOL = 1e-4  # of the largest output: far above float32 rounding, far below the effect of dropout
EXPORT_WITH_FREE_SIZE = (
    "export the program for any number of samples: torch.export.export(model, (x,), "
    "dynamic_shapes=({0: torch.export.Dim('samples')},))"
)


def require_deterministic_output(
    model: nn.Module, forward: Callable[[Batch], Any], first: Batch, objective: str = ""
) -> Any:
    """The model's output on the first samples, or what an `objective` of this name returns in its place.

    Raises TaskError if it fails, is random, or changes its inputs.
    """
    subject = describe_objective(objective) if objective else "the model"
    used, attributes = first.map(Tensor.clone), plain_state(model)
    try:
        output, again = forward(used), forward(first.map(Tensor.clone))
    except Exception as error:  # the user's model may raise anything
        if isinstance(error, LandscapeError):
            raise
        raise TaskError(
            f"{subject} cannot take the data: {type(error).__name__}: {error}",
            why=f"inputs of {shapes(first.inputs)}{_describe_names(first.inputs)}",
            fix=_remedy(str(error), objective=bool(objective)),
        ) from error
    if not outputs_agree(output, again):
        changed = attribute_changes(model, attributes)
        raise TaskError(
            f"{subject} gives two different outputs for the same input",
            why=f"it keeps state from pass to pass: {listing(changed)}"
            if changed
            else "something random is on in eval mode, e.g. functional.dropout without training=self.training",
            fix="make the forward pass deterministic in eval mode",
        )
    pairs = zip(dense_leaves(used.inputs), dense_leaves(first.inputs), strict=True)
    if not all(torch.equal(a, b) or b.isnan().any() for a, b in pairs):
        raise TaskError(f"{subject} changes its inputs in place", fix="work on a copy: x = 2 * x instead of x.mul_(2)")
    return output


def _remedy(message: str, *, objective: bool) -> str:
    """What to do about a model, or a user's objective, that raises an error of this message."""
    if "Guard failed" in message:  # of a program of torch.export
        return EXPORT_WITH_FREE_SIZE
    if "Double" in message or "float64" in message:
        return "--dtype float32: the model has an operation that takes no float64, or creates tensors in float32"
    if objective:
        return "def objective(model, batch) gets the batches as --data yields them; --debug shows the traceback"
    return "check that --data yields (inputs, targets) as the model wants them; --debug shows the traceback"


def _describe_names(inputs: Any) -> str:
    named = f", given by name: {listing(inputs)}" if isinstance(inputs, dict) else ""
    return f"{named}; a batch of two is a pair if they are called inputs and targets, or x and y" if named else ""


def outputs_agree(one: Any, other: Any) -> bool:
    """Whether two outputs are equal but for rounding, such as that of sums in another order, NaN at the same places."""
    return all(_agree(a, b) for a, b in zip(leaves(one), leaves(other), strict=True))


def _agree(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and torch.equal(one, other)
    finite = one.detach()[one.isfinite()].abs()
    scale = float(finite.max()) if len(finite) else 0.0
    return torch.allclose(one, other, rtol=0.0, atol=OUTPUT_RTOL * scale, equal_nan=True)
