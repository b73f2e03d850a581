"""Where ascents begin: along the slope, along eigenvectors, and at random.

Which start finds the largest value differs from net to net: the opposite of the gradient, or an eigenvector, may lead
to a maximum several times as high as the gradient does, and random starts mostly end where the gradient leads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.ascent.ball import Ball
from landscape.algorithms.lanczos import lanczos, ritz
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs
from landscape.operators.base import LinearOperator

ORDER = ("+gradient", "-gradient", "+v1", "-v1", "random 1", "+v2", "-v2", "random 2", "random 3")
ROUGH = 0.05  # residual of the eigenvectors, relative: a start need not be exact
PRODUCTS = 30  # at most for them; 8 to 14 were taken on trained nets


def start_names(count: int) -> tuple[str, ...]:
    """What the first `count` starts are called; beyond the ninth they are random."""
    more = (f"random {index}" for index in range(4, count - len(ORDER) + 4))
    return (*ORDER, *more)[:count]


def eigenvector_count(count: int) -> int:
    """How many leading eigenvectors `count` starts need."""
    return sum(name.startswith("+v") for name in start_names(count))


def start_points(count: int, ball: Ball, slope: Tensor, vectors: Tensor, movable: Tensor, seed: int) -> Tensor:
    """The starts `(count, P)` on the ball's surface.

    `slope (P,)` is the function's at the centre, `vectors (k, P)` are leading eigenvectors; where there are too few,
    random ones take their place. `movable (P,)` tells which coordinates have a scale above 0.
    """
    return torch.stack([ball.farthest(line) for line in _lines(count, slope, vectors, movable, seed)])


def _lines(count: int, slope: Tensor, vectors: Tensor, movable: Tensor, seed: int) -> Iterator[Tensor]:
    for name in start_names(count):
        sign = -1.0 if name.startswith("-") else 1.0
        place = int(name[2:]) - 1 if name[1] == "v" else -1
        if name.endswith("gradient"):
            yield sign * slope
        elif 0 <= place < len(vectors):
            yield sign * vectors[place]
        else:
            yield seeds.normal(len(slope), slope, seed, "start", name) * movable


def eigenvector_search(
    operator: LinearOperator, count: int, seed: int, rows: int, resume: LanczosState | None
) -> Iterator[LanczosState]:
    """The states of a rough search for leading eigenvectors, after each product, in a basis of about `rows`."""
    wanted = _wanted(operator.size, count)
    basis = max(rows, lanczos.fewest_rows(wanted.count))
    yield from lanczos.lanczos(operator, wanted, seed=seed, max_basis=basis, max_products=PRODUCTS, resume=resume)


def leading_eigenvectors(state: LanczosState, count: int) -> tuple[Tensor, np.ndarray]:
    """The leading eigenvectors as rows `(k, P)` and their eigenvalues, from the last state of the search."""
    pairs = ritz.ritz_pairs(state, _wanted(state.basis.shape[1], count))
    return ritz.ritz_vectors(pairs, state.basis), pairs.values


def _wanted(size: int, count: int) -> WantedPairs:
    return WantedPairs(min(count, size), tol=ROUGH, confirm=0)
