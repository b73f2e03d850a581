"""The phase of the average case: mean rises of the loss under random noise on the weights."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.analyses.base import Progress, State
from landscape.errors import TaskError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.objective import Objective
    from landscape.words import Noise

TOGETHER = 4  # pairs between two reports
LAW_PROBES = 8  # products for the small-rho law, with the first draws: it shares their noise
VARIANCE = {"gaussian": 1.0, "uniform": 1 / 3}  # of noise whose rho is 1


@dataclass(frozen=True)
class Noising:
    """What is drawn: noise of these sizes, so many pairs, or until all intervals are as narrow as `rtol`."""

    radii: tuple[float, ...]
    noise: Noise
    pairs: int
    rtol: float | None
    most: int
    seed: int


@dataclass(frozen=True)
class Draws:
    """n antithetic pairs at R radii, and the curvature along the first draws."""

    rises: np.ndarray  # (n, R), the mean of both losses of a pair less the loss at the centre
    curvatures: np.ndarray  # (k,), z'CHCz of the first draws z of variance 1; empty without second derivatives

    def arrays(self) -> State:
        return {"rises": self.rises, "curvatures": self.curvatures}

    def law(self, radii: tuple[float, ...], noise: Noise) -> np.ndarray | None:
        """rho^2 / 2 times the variance of unit noise times tr(C H C), `(R,)`, from the probes."""
        import numpy as np

        if not len(self.curvatures):
            return None
        half: np.ndarray = np.array(radii) ** 2 * (VARIANCE[noise] * float(self.curvatures.mean()) / 2)
        return half


def draws(
    objective: Objective, scale: Tensor, base: float, plan: Noising, resume: State
) -> Generator[Progress, None, Draws]:
    """Yields after each few pairs; the draws z are the same for every radius and, with their size, every checkpoint."""
    import numpy as np

    from landscape.algorithms import averaging

    known = Draws(np.zeros((0, len(plan.radii))), np.zeros(0))
    if resume:
        known = Draws(np.array(resume["rises"]), np.array(resume["curvatures"]))
    else:
        known = Draws(known.rises, _curvatures(objective, scale, min(LAW_PROBES, plan.pairs), plan))
    while not _finished(known, plan):
        count = min(TOGETHER, (plan.pairs if plan.rtol is None else plan.most) - len(known.rises))
        fresh = _pairs(objective, scale, plan, range(len(known.rises), len(known.rises) + count)) - base
        known = Draws(np.concatenate([known.rises, fresh]), known.curvatures)
        done = len(known.rises)
        with np.errstate(divide="ignore", invalid="ignore"):
            half = averaging.half_widths(known.rises) / np.abs(known.rises.mean(axis=0))
        note = f"{done} pairs, half-width {100 * half.max():.2g} % of s_avg"
        total = plan.pairs if plan.rtol is None else plan.most
        yield Progress(min(done, total), total, note, lambda now=known: now.arrays())  # type: ignore[misc]
    return known


def _finished(known: Draws, plan: Noising) -> bool:
    from landscape.algorithms import averaging

    done = len(known.rises)
    if plan.rtol is None or done < plan.pairs:
        return done >= plan.pairs
    return done >= plan.most or averaging.enough(known.rises, plan.rtol)


def noise_of(like: Tensor, plan: Noising, draw: int) -> Tensor:
    """Noise z `(P,)` of rho = 1: standard normal, or uniform on (-1, 1) as a function of the same numbers."""
    import torch

    from landscape import seeds

    z = seeds.normal(len(like), like, plan.seed, "average", draw)
    return z if plan.noise == "gaussian" else torch.erf(z / 2**0.5)


def _pairs(objective: Objective, scale: Tensor, plan: Noising, draws: range) -> np.ndarray:
    """The mean loss of each pair at each radius, `(n, R)`."""
    import torch

    from landscape import points

    wanted = [(draw, sign * radius) for draw in draws for radius in plan.radii for sign in (1, -1)]
    width = points.at_once(objective, len(wanted))
    losses = []
    for first in range(0, len(wanted), width):
        chunk = wanted[first : first + width]
        moves = {draw: scale * noise_of(scale, plan, draw) for draw, _ in chunk}
        thetas = torch.stack([torch.add(objective.theta, moves[draw], alpha=size) for draw, size in chunk])
        losses.append(points.values(objective, thetas.T))
    pairs: np.ndarray = torch.cat(losses).view(len(draws), len(plan.radii), 2).mean(dim=2).cpu().numpy()
    return pairs


def _curvatures(objective: Objective, scale: Tensor, count: int, plan: Noising) -> np.ndarray:
    """z'CHCz of the first draws; none if the model has no second derivative."""
    import numpy as np
    import torch

    from landscape.operators import HessianOperator, ScaledOperator

    deviation = VARIANCE[plan.noise] ** 0.5
    block = torch.stack([noise_of(scale, plan, draw) for draw in range(count)], dim=1) / deviation
    try:
        image = ScaledOperator(HessianOperator(objective), scale).matmat(block)
    except TaskError as error:
        objective.notes.append(f"no small-rho law of s_avg: {error.what}")
        return np.zeros(0)
    curved: np.ndarray = (block.double() * image).sum(dim=0).cpu().numpy()
    return curved
