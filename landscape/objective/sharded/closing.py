"""The checks after a measurement with weights in parts: loss and weights are what they were, derivatives are theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from landscape.compute.inner_products import norm
from landscape.errors import listing
from landscape.network.state import attribute_changes
from landscape.objective.checks.check import Check, Outcome, sample_count
from landscape.objective.checks.closing import CUSTOM_FIX, Measured, examine_loss_again
from landscape.objective.checks.derivatives import FLOAT32_STEPS, ROUGH_STEPS, STEPS, Line, judge, line_errors

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
    """Compares gradient and product with differences of loss and gradient, along the gradient of a few samples."""
    objective: ShardedObjective = measured.objective  # type: ignore[assignment]
    few: ShardedObjective = objective.first(sample_count(objective.space.size))  # type: ignore[assignment]
    _, gradient = few.value_and_gradient()
    length = norm(gradient)
    if not length:
        return Outcome("not run", "the gradient of the first samples is 0")
    scale = max(1.0, norm(objective.theta))
    line = PartLine(objective.theta, gradient.mul_(scale / length), few)
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
