"""The scale c of each weight, in which a perturbation is measured: delta = c u.

c = 1 is the standard ball; c = |w| (element-wise) and c = norm of the filter (filter-wise) make it follow the weights,
and what is measured in it does not change when a layer is scaled and the next one scaled back (Kwon et al. 2021).
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from torch import Tensor

from landscape.choices import Adaptive
from landscape.errors import UsageError
from landscape.objective import Objective


def scale(
    objective: Objective,
    adaptive: Adaptive,
    *,
    eta: float = 0.0,
    unscaled: tuple[str, ...] = (),
    fixed: tuple[str, ...] = (),
) -> Tensor:
    """c `(P,)`: |w| + eta, the filter's norm + eta, or 1.

    It is 1 where a name matches `unscaled`, and 0 where it matches `fixed`. Raises
    UsageError for a glob that matches nothing, and if c = 0 everywhere.
    """
    theta, space = objective.theta, objective.space
    for glob in unscaled:
        if glob.startswith("!") and not any(fnmatchcase(name, glob[1:]) for name in space.names):
            objective.notes.append(f"no parameter matches {glob[1:]}, so that --unscaled {glob} is every parameter")
    if adaptive == "none":
        scaled = torch.ones_like(theta)
    else:
        scaled = (theta.abs() if adaptive == "element" else space.filter_norms(theta)) + eta
        scaled[space.mask(unscaled, "--unscaled").to(theta.device)] = 1.0
    still = space.mask(fixed, "--fixed").to(theta.device)
    scaled[still] = 0.0
    if not bool((scaled > 0).any()):
        held = bool(still.all())
        raise UsageError(
            "no weight may move: every scale is 0",
            why="--fixed holds them all" if held else "--adaptive measures each weight by its own size, which is 0",
            fix="fewer --fixed" if held else "--adaptive none, or --adaptive-eta above 0",
        )
    return scaled
