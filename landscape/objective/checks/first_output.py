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
        raise _two_outputs(subject, attribute_changes(model, attributes), objective=bool(objective))
    pairs = zip(dense_leaves(used.inputs), dense_leaves(first.inputs), strict=True)
    if not all(torch.equal(a, b) or b.isnan().any() for a, b in pairs):
        raise TaskError(f"{subject} changes its inputs in place", fix="work on a copy: x = 2 * x instead of x.mul_(2)")
    return output


def _two_outputs(subject: str, changed: list[str], *, objective: bool) -> TaskError:
    """The error for a model, or a user's objective, that gives two outputs; `changed` names what the model keeps."""
    guess = "something random is on in eval mode, e.g. functional.dropout without training=self.training"
    fix = "make the forward pass deterministic in eval mode"
    if objective:
        guess = "something in it is random, or it keeps state from call to call, e.g. a counter or a moving average"
        fix = "draw random numbers once, and keep them with the data; compute everything else anew at each call"
    return TaskError(
        f"{subject} gives two different outputs for the same input",
        why=f"it keeps state from pass to pass: {listing(changed)}" if changed else guess,
        fix=fix,
    )


def _remedy(message: str, *, objective: bool) -> str:
    """What to do about a model, or a user's objective, that raises an error of this message."""
    if "Guard failed" in message:  # of a program of torch.export
        return EXPORT_WITH_FREE_SIZE
    if "double" in message.lower() or "float64" in message:
        return "--dtype float32: the model has an operation that takes no float64, or creates tensors in float32"
    if objective and "requires_grad flags" in message:
        return "--params chooses what is measured: leave requires_grad as it is"
    if objective and "deepcopy" in message:
        return "copy the model once, outside of the function, or call it with torch.func.functional_call"
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
