"""Updates of the weights: the direction and the scale of a step down the gradient, of Adam, or to a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from landscape import checkpoints
from landscape.checkpoints.optimizer import UPDATE_FIX, adam_update
from landscape.compute.inner_products import dot, norm
from landscape.errors import CheckpointError, UsageError, listing
from landscape.evaluation.other_checkpoints import other_checkpoint
from landscape.objective import Objective


@dataclass(frozen=True)
class Update:
    """The vector d `(P,)` of steps theta - eta d, its length, and how it was made, in notes.

    `gradient_product` is g'd with the gradient g of the objective, None where no gradient was taken. `rate` is the
    learning rate that an optimizer's state names, None without one.
    """

    direction: Tensor
    length: float
    gradient_product: float | None = None
    rate: float | None = None
    notes: tuple[str, ...] = ()


def gradient_update(objective: Objective) -> Update:
    """The gradient of the mean loss: eta is then the learning rate of gradient descent.

    Raises UsageError if it is zero.
    """
    gradient = objective.gradient()
    length = _require_length(gradient, "the gradient is zero")
    return Update(gradient, length, length**2)


def adam_step(objective: Objective) -> Update:
    """The update of Adam's next step, whose gradient is that of the objective; eta is its learning rate.

    The moments are those of the optimizer's state in the objective's checkpoint. Raises CheckpointError without a
    checkpoint, or one without such a state.
    """
    path = objective.source.path
    if path is None:
        raise CheckpointError("no checkpoint is known whose optimizer state could be read", fix=UPDATE_FIX)
    conditions = objective.source.conditions
    checkpoint = checkpoints.read(
        path,
        weights=conditions.get("weights"),
        ignore=conditions.get("ignore_tensors", ()),
        trust=bool(conditions.get("trust")),
        base=conditions.get("base"),
    )
    gradient = objective.gradient()
    weights = objective.space.unflatten(objective.theta)
    named = {
        name: weights.get(name, tensor).detach().requires_grad_(tensor.requires_grad)
        for name, tensor in objective.model.named_parameters()
    }
    step = adam_update(checkpoint.optimizer(), named, objective.space.unflatten(gradient), str(path))
    direction = objective.theta.new_zeros(objective.space.size)
    for name, part in objective.space.unflatten(direction).items():
        if name in step.tensors:
            part.copy_(step.tensors[name])
    length = _require_length(direction, "Adam's next update is zero")
    notes = [f"the update is that of Adam's next step, with the optimizer's state of {Path(path).name}"]
    if step.without:
        notes.append(f"the optimizer's state has no moments of {listing(step.without)}, which stay where they are")
    if step.assumes_decoupled:
        notes.append("the optimizer's state does not tell how weights decay: taken as AdamW's, beside the gradient")
    return Update(direction, length, dot(gradient, direction), step.rate or None, tuple(notes))


def update_towards(objective: Objective, source: str | Mapping[str, Tensor]) -> Update:
    """The weights minus those of another checkpoint, a path or a state dict: a step of 1 ends there.

    Raises CheckpointError for a checkpoint that does not fit, and UsageError for one with the same weights.
    """
    end = other_checkpoint(objective, source, "--update towards:")
    direction = objective.theta - end.theta
    length = _require_length(direction, f"{end.name} has the same weights")
    notes = [f"the update leads to {end.name}, which a step of 1 reaches"]
    if fixed := end.differing_tensors():
        notes.append(
            f"only measured parameters move: {listing(fixed)} stay as they are here, so that a step of 1 does not "
            "end at the other checkpoint"
        )
    return Update(direction, length, notes=tuple(notes))


def _require_length(direction: Tensor, why: str) -> float:
    """The length of a direction `(P,)`; raises UsageError, with the reason, if it is zero."""
    length = norm(direction)
    if not length > 0:
        raise UsageError(f"there is no update: {why}", fix="--update towards:OTHER")
    return length
