"""Solutions of (A + damping I) x = g for gradients of queries: by conjugate gradients, or by Kronecker factors."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.linear_systems.solve import ColumnEnds, conjugate_gradients, solution_of
from landscape.algorithms.linear_systems.state import (
    ColumnStatus,
    ConjugateGradientsState,
    LinearSystems,
    SolutionGoal,
    begin_solution,
)
from landscape.algorithms.linear_systems.steps import NEAR, multiply
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Progress, State, Trouble
from landscape.compute.inner_products import row_norms

if TYPE_CHECKING:
    from landscape.analyses.influence.damping import Damping
    from landscape.operators import LinearOperator
    from landscape.operators.kronecker import KroneckerOperator

LEAST_REDUCTION = 1.5  # of a residual, from which on the movement of scores tells their errors


@dataclass(frozen=True)
class Matrix:
    """The matrix A, its Kronecker factors if they are measured, the goal of its solves, and their preconditioner."""

    operator: LinearOperator
    goal: SolutionGoal
    kronecker: KroneckerOperator | None = None
    preconditioner: LinearOperator | None = None


@dataclass(frozen=True)
class SolvedQueries:
    """Solutions `(P, K)` at the damping and at the larger one, with residuals and iterations `(K,)`.

    `earlier` are the solutions at ten times the tolerance, `reductions` `(K,)` by what factor the residuals have fallen
    since then, and `ends` how the solves of the 2 K columns at the damping
    and at the larger one ended; they are None if nothing was iterated.
    """

    x: Tensor
    compared: Tensor
    earlier: Tensor | None
    residuals: np.ndarray
    iterations: np.ndarray
    products: int
    reductions: np.ndarray | None = None
    ends: ColumnEnds | None = None

    @property
    def trouble(self) -> Trouble | None:
        """Why a solve ended above the tolerance, and what to do; None if none did."""
        return None if self.ends is None else describe_trouble(self.ends)


def solve_by_iterations(
    matrix: Matrix, rows: Tensor, damping: Damping, saved: State
) -> Generator[Progress, None, SolvedQueries]:
    """Solves for gradients `(K, P)` at both dampings together; yields after every pass."""
    count = len(rows)
    right = torch.cat([rows, rows]).T.contiguous()
    systems = LinearSystems(matrix.operator, right, np.repeat(damping.pair, count), matrix.preconditioner)
    begin = restore(ConjugateGradientsState, saved, right) if saved else begin_solution(systems)
    state = begin
    for state in conjugate_gradients(systems, matrix.goal, begin):
        yield Progress(_progress_share(state, matrix.goal), 100, _describe(state), partial(snapshot, state))
    solution = solution_of(state)
    return SolvedQueries(
        x=solution.x[:, :count],
        compared=solution.x[:, count:],
        earlier=state.earlier[:, :count],
        residuals=solution.residuals[:count],
        iterations=solution.iterations[:count],
        products=solution.products,
        reductions=_reductions(state, matrix.goal)[:count],
        ends=solution,
    )


def solve_by_factors(
    matrix: Matrix, rows: Tensor, damping: Damping, saved: State
) -> Generator[Progress, None, SolvedQueries]:
    """The solutions by Kronecker factors, and their residuals under the matrix itself by one product of each."""
    assert matrix.kronecker is not None
    right = rows.T.contiguous()
    x, compared = (matrix.kronecker.inverse(value, 0.0).matmat(right) for value in damping.layer_pair)
    residuals = saved.get("residuals")
    if residuals is None:
        residuals = residuals_of(matrix, right, x, damping)
        yield Progress(1, 1, "residuals of the solutions", lambda: {"residuals": np.asarray(residuals)})
    none = np.zeros(len(rows), dtype=np.int64)
    return SolvedQueries(x, compared, None, residuals, none, len(rows))


def residuals_of(matrix: Matrix, right: Tensor, x: Tensor, damping: Damping) -> np.ndarray:
    """|b - (A + D) x| / |b| of each column, in one product, with D the dampings of all parameters; 0 for b = 0."""
    assert matrix.kronecker is not None
    diagonal = matrix.kronecker.damping_diagonal(damping.layer_pair[0])
    rest = right - multiply(matrix.operator, x, matrix.goal.width) - diagonal[:, None] * x
    left, whole = (row_norms(part.T).cpu().numpy() for part in (rest, right))
    found: np.ndarray = np.divide(left, whole, out=np.zeros_like(left), where=whole > 0)
    return found


def errors_by_movement(moved: np.ndarray, reductions: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Errors of scores `(N, K)` from how far they moved while the residuals fell by a factor `(K,)`.

    If the errors fall by as much, they are d / (factor - 1) where d is the movement. Where a residual has hardly fallen
    since, since one step led far below the tolerance or none came close, movements tell nothing: the errors are at most
    `bounds` `(N, K)`.
    """
    told = reductions >= LEAST_REDUCTION
    errors: np.ndarray = np.where(told, np.abs(moved) / np.where(told, reductions - 1, 1.0), bounds)
    return errors


def _reductions(state: ConjugateGradientsState, goal: SolutionGoal) -> np.ndarray:
    """By what factor the residual of each column has fallen since its `earlier` solution, `(K,)`; 1 without one."""
    near = state.history <= NEAR * goal.tol
    first = np.where(near.any(axis=0), near.argmax(axis=0), -1) if len(near) else np.full(len(state.length), -1)
    begins = np.array([state.history[step, column] if step >= 0 else 0.0 for column, step in enumerate(first)])
    falling: np.ndarray = np.divide(begins, state.verified, out=np.ones_like(begins), where=state.verified > 0)
    return falling


def describe_trouble(ends: ColumnEnds) -> Trouble | None:
    """Why the worst column missed the tolerance; more iterations help if nothing else than their number ended one."""
    if ends.converged:
        return None
    more_helps = not {ColumnStatus.NEGATIVE_CURVATURE, ColumnStatus.STALLED} & set(ends.status)
    return Trouble(ends.why, ends.fix, "unfinished" if more_helps else "degenerate")


def _progress_share(state: ConjugateGradientsState, goal: SolutionGoal) -> int:
    """Percent of the way to the tolerance, in powers of ten, of the column that is farthest from it."""
    worst = float(state.reached.max(initial=0.0))
    if worst <= goal.tol:
        return 100
    return max(0, min(99, round(100 * math.log(worst) / math.log(goal.tol)))) if worst < 1 else 0


def _describe(state: ConjugateGradientsState) -> str:
    return f"{int(state.iterations.max(initial=0))} iterations, residual {float(state.reached.max(initial=0.0)):.2g}"
