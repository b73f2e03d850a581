"""What the analyses of perturbed weights share: how weights are scaled, and which are moved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Analysis
from landscape.analyses.neighborhood.worst_case import BallObjective
from landscape.analyses.shared.rounding import rounding_floor
from landscape.choices import Adaptive, LogitNorm
from landscape.errors import NumericalError, UsageError
from landscape.fields import option

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective


def scaling(stored: Mapping[str, Any]) -> str:
    """How a measurement with these options scaled the weights, for its title: `element-wise`."""
    return "standard" if stored["adaptive"] == "none" else f"{stored['adaptive']}-wise"


@dataclass(frozen=True)
class Perturbation(Analysis):
    """An analysis of the loss at theta + c u: u lies in a ball, or is random, and c is the scale of each weight."""

    adaptive: Adaptive = option(
        "none",
        title=lambda stored: "" if stored["adaptive"] == "none" else scaling(stored),
        help="Scale of a weight: none (1), element (its size) or filter (its filter's norm).",
    )
    adaptive_eta: float = option(0.0, help="Added to that scale, with --adaptive.", min=0)
    unscaled: tuple[str, ...] = option(
        (), help="Glob over parameters with scale 1 all the same; '!GLOB': all but these. Repeatable."
    )
    fixed: tuple[str, ...] = option((), help="Glob over parameters that are not moved, e.g. '*.bias'. Repeatable.")
    logit_norm: LogitNorm = option(
        "none", title="logits / {}", help="Centre each sample's logits and divide by their norm or standard deviation."
    )
    per_layer: bool = option(False, help="Also tell each module's share in the worst move.")
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def __post_init__(self) -> None:
        for name in ("unscaled", "fixed"):
            given: Any = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        super().__post_init__()
        if self.adaptive == "none" and (self.adaptive_eta or self.unscaled):
            raise UsageError(
                "--adaptive-eta and --unscaled say how weights are scaled, and --adaptive none does not scale them",
                fix="--adaptive element or filter",
            )

    def subject(self, objective: Objective) -> Objective:
        """The objective whose loss is measured: with logits normalised, if asked."""
        from landscape.losses.logit_norm import with_normalized_logits

        loss = with_normalized_logits(objective.loss, self.logit_norm)
        return objective if loss is objective.loss else objective.with_loss(loss)

    def scale(self, objective: Objective) -> Tensor:
        """c `(P,)`."""
        from landscape.evaluation.scaling import weight_scales

        scales = weight_scales(
            objective, self.adaptive, eta=self.adaptive_eta, unscaled=self.unscaled, fixed=self.fixed
        )
        objective.notes.extend(scales.notes)
        return scales.values

    def groups(self, objective: Objective) -> tuple[ParameterGroup, ...]:
        """The modules whose shares are asked for."""
        return objective.space.layers() if self.per_layer else ()

    def floor(self, objective: Objective, function: Callable[[Tensor], float], base: float) -> float:
        """The smallest rise of a function of theta above `base`, its value at the weights, clear of rounding."""
        return rounding_floor(objective, function, base, self.seed)


def require_finite_base(base: float, logit_norm: LogitNorm) -> None:
    """Raises NumericalError if the measured loss is no number at the weights themselves."""
    if not math.isfinite(base):
        raise NumericalError(
            f"the loss of the normalised logits is {base}" if logit_norm != "none" else f"the loss is {base}",
            why="a sample whose logits are all equal has no scale to take out" if logit_norm != "none" else "",
            fix="--logit-norm none, or leave such samples out" if logit_norm != "none" else "--dtype float64",
        )


def parse_radii(given: Any, flag: str) -> tuple[float, ...]:
    """A number, or several, as numbers; raises UsageError for one that is not above 0, or infinite, or no number."""
    try:
        radii = tuple(float(radius) for radius in (given if isinstance(given, Iterable) else (given,)))
    except (TypeError, ValueError):
        raise UsageError(f"{flag} is {given!r}", fix="a number, or several") from None
    bad = [radius for radius in radii if not 0 < radius < float("inf")]
    if bad:
        raise UsageError(f"{flag} is {bad[0]:g}", fix="numbers above 0")
    return radii


def loss_in_ball(scale: Tensor, starts: int) -> Callable[[Objective], BallObjective]:
    """The loss of a part of the data as a function of u."""

    def hill(part: Objective) -> BallObjective:
        import torch

        from landscape.evaluation import points

        value, gradient = part.value_and_gradient()

        def evaluate(rows: Tensor) -> tuple[np.ndarray, Tensor]:
            values, gradients = points.values_and_gradients(part, torch.addcmul(part.theta, scale, rows).T)
            return values.cpu().numpy(), gradients.mul_(scale[:, None]).T

        return BallObjective(float(value), scale * gradient, evaluate, points.points_per_pass(part, starts + 1))

    return hill
