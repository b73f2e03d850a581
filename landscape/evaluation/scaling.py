"""The scale c of each weight: a perturbation delta = c u is measured by its u.

c = 1 gives the standard ball. With c = |w| (element-wise) or c = the norm of the weight's filter (filter-wise) the ball
follows the weights: its sharpness does not change when a layer is multiplied and the next one divided by the same
factor (Kwon et al. 2021). This scale of weights is not the scale of logits (`losses.logit_norm`), nor that of a matrix
(`operators.scaled`), nor that of a surface's directions (`evaluation.directions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from landscape.choices import Adaptive
from landscape.errors import UsageError
from landscape.network.space import ParameterSpace
from landscape.objective import Objective


@dataclass(frozen=True)
class WeightScales:
    """c `(P,)`, and notes on globs that a reader may have meant otherwise."""

    values: Tensor
    notes: tuple[str, ...]


def weight_scales(
    objective: Objective,
    adaptive: Adaptive,
    *,
    eta: float = 0.0,
    unscaled: tuple[str, ...] = (),
    fixed: tuple[str, ...] = (),
) -> WeightScales:
    """c `(P,)`: |w| + eta, the filter's norm + eta, or 1.

    It is 1 for names that match `unscaled`, and 0 for names that match `fixed`. Raises UsageError for a glob that
    matches nothing, and if c = 0 everywhere.
    """
    theta, space = objective.theta, objective.space
    if adaptive == "none":
        scales = torch.ones_like(theta)
    else:
        scales = (theta.abs() if adaptive == "element" else space.filter_norms(theta)) + eta
        scales[space.mask(unscaled, "--unscaled").to(theta.device)] = 1.0
    unmoved = space.mask(fixed, "--fixed").to(theta.device)
    scales[unmoved] = 0.0
    if not bool((scales > 0).any()):
        all_fixed = bool(unmoved.all())
        raise UsageError(
            "no weight may move: every scale is 0",
            why="--fixed matches all of them"
            if all_fixed
            else "--adaptive measures each weight by its own size, which is 0",
            fix="fewer --fixed" if all_fixed else "--adaptive none, or --adaptive-eta above 0",
        )
    return WeightScales(scales, unmatched_exceptions(space, unscaled))


def unmatched_exceptions(space: ParameterSpace, unscaled: tuple[str, ...]) -> tuple[str, ...]:
    """A note for each `!GLOB` that matches no parameter, so that its complement is every parameter."""
    return tuple(
        f"no parameter matches {glob[1:]}, so that --unscaled {glob} is every parameter"
        for glob in unscaled
        if glob.startswith("!") and not any(fnmatchcase(name, glob[1:]) for name in space.names)
    )
