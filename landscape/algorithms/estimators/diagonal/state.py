"""A run of the estimator of a diagonal as a value: its goal, the products so far, and what they tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.snapshots import buffer

MIN_PROBES = 8  # values of an entry from which its spread is believed
PROBES_PER_PASS = 8  # columns that share a pass over the data


@dataclass(frozen=True)
class DiagonalGoal:
    """The error wanted, the limit on products, and what fits into memory.

    The error is the norm of all standard errors relative to the norm of the whole diagonal, of which `known` `(P,)` is
    added to what is estimated, with the sum of variances `known_variance`.
    """

    rtol: float
    max_products: int
    capacity: int  # sketched probes that fit into memory
    width: int = PROBES_PER_PASS  # probes that share a pass
    known: np.ndarray | None = None
    known_variance: float = 0.0
    min_probes: int = MIN_PROBES


@dataclass(frozen=True)
class DiagonalState:
    """The products so far: r rows of Q with their products, and m other probes.

    The rows of `basis` and `images` beyond r are not part of the state. `mean` and `scatter` are the mean of the
    probes' values and the sum of their squared deviations, entry by entry; of `exact` first entries the mean is the
    entry itself.
    """

    basis: Tensor = field(metadata=buffer("rank"))  # (capacity, P), Q as rows
    images: Tensor = field(metadata=buffer("rank"))  # (capacity, P), A Q as rows
    rank: int
    sketched: int  # probes that were drawn for the sketch
    mean: np.ndarray  # (P,)
    scatter: np.ndarray  # (P,)
    group_values: np.ndarray  # (m, G), the probes' estimates of each group's sum outside the sketch
    exact: int
    products: int
    history: np.ndarray  # (rounds, 3), r, the sum over entries of the variance of a value, and the norm's square
    width: int  # probes that share a pass, in this run

    @property
    def probes(self) -> int:
        """m, the other probes."""
        return len(self.group_values)

    @property
    def size(self) -> int:
        """P."""
        return len(self.mean)

    @property
    def complete(self) -> bool:
        """Whether every entry was computed."""
        return self.exact == self.size

    def diagonal(self) -> np.ndarray:
        """The estimate `(P,)`; NaN where there is none."""
        if self.exact:
            entries = self.mean.copy()
            entries[self.exact :] = np.nan
            return entries
        if not self.probes:
            return np.full(self.size, np.nan)
        whole: np.ndarray = self.mean + sketch_diagonal(self)
        return whole

    def variance(self) -> np.ndarray:
        """The variance of the estimate, entry by entry; infinite where it is not known."""
        if self.exact:
            certain: np.ndarray = np.where(np.arange(self.size) < self.exact, 0.0, np.inf)
            return certain
        if self.probes < 2:
            return np.full(self.size, np.inf)
        variances: np.ndarray = self.scatter / (self.probes * (self.probes - 1))
        return variances

    def group_variance(self) -> np.ndarray:
        """The variance of the sum over each group `(G,)`."""
        count = self.probes
        if self.complete:
            return np.zeros(self.group_values.shape[1])
        if count < 2:
            return np.full(self.group_values.shape[1], np.nan)
        spread: np.ndarray = self.group_values.var(axis=0, ddof=1) / count
        return spread


def initial_diagonal_state(like: Tensor, size: int, groups: int, goal: DiagonalGoal) -> DiagonalState:
    """The state before the first product, with room for the sketch that the goal allows."""
    basis, images = (torch.empty((goal.capacity, size), dtype=like.dtype, device=like.device) for _ in range(2))
    return DiagonalState(
        basis=basis,
        images=images,
        rank=0,
        sketched=0,
        mean=np.zeros(size),
        scatter=np.zeros(size),
        group_values=np.zeros((0, groups)),
        exact=0,
        products=0,
        history=np.zeros((0, 3)),
        width=goal.width,
    )


def sketch_diagonal(state: DiagonalState) -> np.ndarray:
    """The diagonal of QQ'A + AQQ' - QQ'AQQ', `(P,)`, float64."""
    rows, images = state.basis[: state.rank], state.images[: state.rank]
    total = np.zeros(state.size)
    if not state.rank:
        return total
    projected = (rows @ images.T).double()
    projected = ((projected + projected.T) / 2).to(rows)
    for first in range(0, state.size, CHUNK):
        part = slice(first, first + CHUNK)
        q, image = rows[:, part], images[:, part]
        total[part] = (q.double() * (2 * image - projected @ q)).sum(dim=0).cpu().numpy()
    return total


CHUNK = 1 << 18  # coordinates of all rows that are multiplied together


def error_and_square(state: DiagonalState, goal: DiagonalGoal) -> tuple[float, float]:
    """The sum of all variances, and the squared norm of the whole diagonal without what the errors add to it."""
    estimate = state.diagonal()
    if goal.known is not None:
        estimate = estimate + goal.known
    error = float(state.variance().sum()) + goal.known_variance
    return error, float((estimate**2).sum()) - error


def relative_norm(error: float, square: float) -> float:
    """The norm of the standard errors relative to that of the diagonal; infinite where the errors hide it."""
    if error == 0:
        return 0.0
    return math.sqrt(error / square) if square > 0 else math.inf


def sign_probe(size: int, like: Tensor, seed: int, *path: str | int) -> Tensor:
    """A vector `(P,)` of random signs."""
    vector = seeds.normal_vector(size, like, seed, "diagonal", *path)
    return torch.where(vector < 0, -1.0, 1.0).to(like)
