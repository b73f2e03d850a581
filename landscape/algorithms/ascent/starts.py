"""The starting points of ascents: along the gradient, along eigenvectors, and at random.

The start that finds the largest value differs from net to net. The opposite of the gradient, or an eigenvector, may
lead to a maximum several times as high as the gradient's; random starts mostly end at the gradient's maximum.
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

START_NAMES = ("+gradient", "-gradient", "+v1", "-v1", "random 1", "+v2", "-v2", "random 2", "random 3")
ROUGH_TOLERANCE = 0.05  # relative residual of the eigenvectors: a start need not be exact
MAX_PRODUCTS = 30  # for the eigenvectors; trained nets took 8 to 14


def start_names(count: int) -> tuple[str, ...]:
    """The names of the first `count` starts; beyond the ninth all are random."""
    more = (f"random {index}" for index in range(4, count - len(START_NAMES) + 4))
    return (*START_NAMES, *more)[:count]


def eigenvector_count(count: int) -> int:
    """The number of leading eigenvectors that `count` starts need."""
    return sum(name.startswith("+v") for name in start_names(count))


def start_points(count: int, ball: Ball, gradient: Tensor, vectors: Tensor, movable: Tensor, seed: int) -> Tensor:
    """The starts `(count, P)` on the ball's surface.

    `gradient (P,)` is that of the function at the center; `vectors (k, P)` are leading eigenvectors, and random vectors
    replace missing ones. `movable (P,)` is True for coordinates whose scale is above 0.
    """
    return torch.stack([ball.farthest(direction) for direction in _directions(count, gradient, vectors, movable, seed)])


def _directions(count: int, gradient: Tensor, vectors: Tensor, movable: Tensor, seed: int) -> Iterator[Tensor]:
    for name in start_names(count):
        sign = -1.0 if name.startswith("-") else 1.0
        index = int(name[2:]) - 1 if name[1] == "v" else -1
        if name.endswith("gradient"):
            yield sign * gradient
        elif 0 <= index < len(vectors):
            yield sign * vectors[index]
        else:
            yield seeds.normal(len(gradient), gradient, seed, "start", name) * movable


def eigenvector_search(
    operator: LinearOperator, count: int, seed: int, rows: int, resume: LanczosState | None
) -> Iterator[LanczosState]:
    """The states after each product of a rough search for leading eigenvectors, in a basis of about `rows` vectors."""
    wanted = _rough_pairs(operator.size, count)
    basis = max(rows, lanczos.fewest_rows(wanted.count))
    yield from lanczos.lanczos(operator, wanted, seed=seed, max_basis=basis, max_products=MAX_PRODUCTS, resume=resume)


def leading_eigenvectors(state: LanczosState, count: int) -> tuple[Tensor, np.ndarray]:
    """The leading eigenvectors as rows `(k, P)` and their eigenvalues, from the last state of the search."""
    pairs = ritz.ritz_pairs(state, _rough_pairs(state.basis.shape[1], count))
    return ritz.ritz_vectors(pairs, state.basis), pairs.values


def _rough_pairs(size: int, count: int) -> WantedPairs:
    return WantedPairs(min(count, size), tol=ROUGH_TOLERANCE, confirm=0)
