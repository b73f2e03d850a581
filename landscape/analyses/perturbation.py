"""What the analyses of perturbed weights share: how weights are scaled, and which are moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.analyses.base import Analysis
from landscape.errors import UsageError
from landscape.fields import option
from landscape.words import Adaptive, LogitNorm

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.objective import Objective
    from landscape.space import Group

MEASURED = 4  # random last-bit changes of all weights from which the rounding of the loss is known
CLEAR = 10  # a rise counts if it is this many times what such changes make
EPSILONS = 100  # and at least so many machine epsilons of the loss


@dataclass(frozen=True)
class Perturbation(Analysis):
    """An analysis of the loss at theta + c u: u lies in a ball, or is random, and c is the scale of each weight."""

    adaptive: Adaptive = option("none", help="Scale of a weight: 1, its size, or the norm of its filter.")
    adaptive_eta: float = option(0.0, help="Added to that scale, with --adaptive.", min=0)
    unscaled: tuple[str, ...] = option(
        (), help="Glob over parameters with scale 1 all the same; '!GLOB': all but these. Repeatable."
    )
    fixed: tuple[str, ...] = option((), help="Glob over parameters that are not moved, e.g. '*.bias'. Repeatable.")
    logit_norm: LogitNorm = option(
        "none", help="Centre each sample's logits and divide by their norm or standard deviation."
    )
    per_layer: bool = option(False, help="Also tell each module's share in the worst move.")
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def subject(self, objective: Objective) -> Objective:
        """The objective whose loss is measured: with logits normalised, if asked."""
        from landscape.normalised import normalised

        loss = normalised(objective.loss, self.logit_norm)
        return objective if loss is objective.loss else objective.with_loss(loss)

    def scale(self, objective: Objective) -> Tensor:
        """c `(P,)`."""
        from landscape.scaling import scale

        return scale(objective, self.adaptive, eta=self.adaptive_eta, unscaled=self.unscaled, fixed=self.fixed)

    def groups(self, objective: Objective) -> tuple[Group, ...]:
        """The modules whose shares are asked for."""
        return objective.space.layers() if self.per_layer else ()

    def loss_floor(self, objective: Objective, base: float) -> float:
        """The smallest rise of the mean loss that stands clear of rounding.

        A loss of confident logits is a difference of large numbers: its rounding is measured, by changing the last bit
        of every weight at random.
        """
        import torch

        from landscape import points, seeds

        epsilon = torch.finfo(objective.dtype).eps
        signs = [
            seeds.normal(len(objective.theta), objective.theta, self.seed, "rounding", draw).sign()
            for draw in range(MEASURED)
        ]
        changed = objective.theta * (1 + epsilon * torch.stack(signs))
        apart = points.values(objective, changed.T) - base
        return max(CLEAR * float((apart**2).mean().sqrt()), EPSILONS * epsilon * abs(base))


def require_positive(radii: tuple[float, ...], flag: str) -> None:
    """Raises UsageError for a radius that is not above 0, or infinite."""
    bad = [radius for radius in radii if not 0 < radius < float("inf")]
    if bad:
        raise UsageError(f"{flag} is {bad[0]:g}", fix="numbers above 0")
