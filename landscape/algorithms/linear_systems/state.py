"""A run of conjugate gradients as a value: the systems, what is asked of them, and the state after some steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.snapshots import TENSOR
from landscape.compute.inner_products import row_norms
from landscape.operators.base import LinearOperator

TOL = 1e-3  # of the residual: scores of influence then err by less than what other dampings change
MAX_ITERATIONS = 1000


class ColumnStatus(IntEnum):
    """Where a column stands. All but the first two rest, and have a residual that a product has verified."""

    RUNNING = 0
    CLAIMED = 1  # the recursion, or an end, says that it rests: a product has to verify its residual
    CONVERGED = 2
    NEGATIVE_CURVATURE = 3  # along its direction A + damping I has a negative curvature
    STALLED = 4  # rounding keeps the residual above the tolerance
    EXHAUSTED = 5  # the iterations are used up


@dataclass(frozen=True)
class LinearSystems:
    """(A + damping_k I) x_k = b_k for K columns, with `right_sides` `(P, K)` and `dampings` `(K,)`.

    `preconditioner` multiplies by an approximate inverse of A + damping I, which must be positive definite.
    """

    operator: LinearOperator
    right_sides: Tensor
    dampings: np.ndarray
    preconditioner: LinearOperator | None = None

    @property
    def columns(self) -> int:
        """K."""
        return int(self.right_sides.shape[1])

    def scale_by_damping(self, block: Tensor, columns: np.ndarray) -> Tensor:
        """The block `(P, k)` of these columns, each times its damping."""
        return block * torch.from_numpy(self.dampings[columns]).to(block)

    def precondition(self, block: Tensor) -> Tensor:
        """The preconditioner times a block; the block itself without one."""
        return block if self.preconditioner is None else self.preconditioner.matmat(block)


@dataclass(frozen=True)
class SolutionGoal:
    """The residual asked for, relative to |b|, the most iterations of a column, and the most columns of a product."""

    tol: float = TOL
    max_iterations: int = MAX_ITERATIONS
    width: int = 32


@dataclass(frozen=True)
class ConjugateGradientsState:
    """K systems after some steps.

    `earlier` holds each solution when its residual first fell below ten times the tolerance: how far it has moved since
    tells how far it still is from the end. `verified` are residuals |b - (A + damping I) x| / |b| by a product, NaN
    before there was one.
    """

    solution: Tensor = field(metadata=TENSOR)  # (P, K)
    earlier: Tensor = field(metadata=TENSOR)  # (P, K)
    residual: Tensor = field(metadata=TENSOR)  # (P, K), by the recursion
    direction: Tensor = field(metadata=TENSOR)  # (P, K)
    weighted: np.ndarray  # (K,), r' M r with M the preconditioner
    length: np.ndarray  # (K,), |b|
    reached: np.ndarray  # (K,), |r| / |b| by the recursion
    is_near: np.ndarray  # (K,), whether `earlier` is set
    verified: np.ndarray  # (K,)
    curvature: np.ndarray  # (K,), p'(A + damping I)p / p'p where it ended a column; NaN elsewhere
    scale: np.ndarray  # (K,), the largest |(A + damping I) p| / |p| seen
    iterations: np.ndarray  # (K,)
    status: np.ndarray  # (K,)
    products: int  # columns that were multiplied
    history: np.ndarray  # (steps, K), `reached` after each step

    def places(self, *status: ColumnStatus) -> np.ndarray:
        """The columns of such a status."""
        return np.flatnonzero(np.isin(self.status, status))

    @property
    def finished(self) -> bool:
        """Whether all columns rest."""
        return not len(self.places(ColumnStatus.RUNNING, ColumnStatus.CLAIMED))


def begin_solution(systems: LinearSystems) -> ConjugateGradientsState:
    """The state before the first product, at x = 0."""
    right, count = systems.right_sides, systems.columns
    length = row_norms(right.T).cpu().numpy()
    zeros = torch.zeros_like(right)
    unknown, status = np.full(count, np.nan), np.where(length == 0, ColumnStatus.CONVERGED, ColumnStatus.RUNNING)
    return ConjugateGradientsState(
        solution=zeros,
        earlier=zeros,
        residual=right,
        direction=zeros,
        weighted=np.zeros(count),
        length=length,
        reached=np.where(length == 0, 0.0, 1.0),
        is_near=length == 0,
        verified=np.where(length == 0, 0.0, np.nan),
        curvature=unknown,
        scale=np.zeros(count),
        iterations=np.zeros(count, dtype=np.int64),
        status=status.astype(np.int64),
        products=0,
        history=np.zeros((0, count)),
    )
