"""The checks after a measurement with weights in parts: loss and weights are what they were, derivatives are theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from landscape import seeds
from landscape.compute.inner_products import norm
from landscape.errors import listing
from landscape.network.embeddings import padding_rows
from landscape.network.state import attribute_changes
from landscape.objective.checks.check import Check, Outcome, sample_count
from landscape.objective.checks.closing import CUSTOM_FIX, Measured, examine_loss_again
from landscape.objective.checks.derivatives import FLOAT32_STEPS, OFFSET, ROUGH_STEPS, STEPS, Line, judge, line_errors

if TYPE_CHECKING:
    from landscape.objective.sharded.objective import ShardedObjective


@dataclass(frozen=True)
class PartLine(Line):
    """The mean loss of a few samples along a direction, of which this rank holds a part, as of theta."""

    objective: ShardedObjective

    def gradient_at(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at a point, and its gradient."""
        return self.objective.value_and_gradient(point)

    def product(self) -> Tensor:
        """The Hessian at theta times the direction."""
        return self.objective.product(self.direction, self.theta)


def _clear_padding(objective: ShardedObjective, direction: Tensor) -> None:
    """Sets the rows of embeddings to 0 to which torch gives no gradient by definition."""
    places = {block.name: (index, block.shape[-1]) for index, block in enumerate(objective.space.blocks) if block.shape}
    for name, row in padding_rows(objective.model).items():
        if name in places:
            index, width = places[name]
            objective.shards.put_run(direction, index, row * width, direction.new_zeros(width))


def examine_parts_again(measured: Measured) -> Outcome:
    """Compares weights and loss with those before the measurement."""
    objective: ShardedObjective = measured.objective  # type: ignore[assignment]
    state = attribute_changes(objective.model, measured.attributes)
    every = objective.ranks.gather((objective.digest() != objective.theta_digest, state), "what has changed")
    changed = [f"rank {rank}" for rank, (other, _) in enumerate(every) if other]
    if changed:
        return Outcome(
            "broken",
            f"weights or buffers that {listing(changed)} holds changed during the measurement",
            "leave weights and buffers alone in eval mode, or freeze what changes them",
        )
    return examine_loss_again(objective, list(dict.fromkeys(name for _, names in every for name in names)))


def examine_derivatives(measured: Measured) -> Outcome:
    """Compares gradient and product with differences, along a random direction plus the gradient of a few samples.

    The gradient alone would not tell of derivatives that are missing: it has none there.
    """
    objective: ShardedObjective = measured.objective  # type: ignore[assignment]
    few: ShardedObjective = objective.first(sample_count(objective.space.size))  # type: ignore[assignment]
    noise, away = (
        seeds.normal_vector(objective.space.size, objective.theta, 0, name) for name in ("derivatives", "offset")
    )
    scale = max(1.0, norm(objective.theta))
    theta = away.mul_(OFFSET * scale / norm(away)).add_(objective.theta)
    _, gradient = few.value_and_gradient(theta)
    length = norm(gradient)
    direction = noise.div_(norm(noise))
    if 0 < length < math.inf:
        direction.add_(gradient, alpha=1 / length)
    _clear_padding(objective, direction)
    line = PartLine(theta, direction.mul_(scale / norm(direction)), few)
    steps = FLOAT32_STEPS if objective.dtype == torch.float32 else (*STEPS, *ROUGH_STEPS)
    errors = line_errors(line, steps, second=True)
    first = judge(
        errors.gradient,
        "the gradient is not the derivative of the loss (an operation cuts or rewrites gradients)",
        CUSTOM_FIX,
    )
    if first.verdict != "holds" or errors.product is None:
        return first
    return judge(
        errors.product,
        "the second derivative is not that of the gradient (an operation computes its derivative by itself)",
        CUSTOM_FIX,
    )


PART_CHECKS: tuple[Check[Measured], ...] = (
    Check("repetition", "the loss is the same at the end", "1 forward pass over the data", examine_parts_again),
    Check(
        "curvature",
        "gradients and products are derivatives of the loss",
        "1 product and 3 gradients of a few samples",
        examine_derivatives,
    ),
)
