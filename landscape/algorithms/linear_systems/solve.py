"""The driver of conjugate gradients, and `landscape.solve`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from landscape.algorithms.linear_systems.state import (
    MAX_ITERATIONS,
    TOL,
    ColumnStatus,
    ConjugateGradientsState,
    LinearSystems,
    SolutionGoal,
    begin_solution,
)
from landscape.algorithms.linear_systems.steps import iterate, verify
from landscape.errors import UsageError
from landscape.operators.base import LinearOperator

INDEFINITE = "a larger --damping, or a semidefinite matrix: --operator ggn"
MORE_ITERATIONS = "a larger --max-iterations, which goes on from here; or a larger --damping"
ENDS = {
    ColumnStatus.NEGATIVE_CURVATURE: (
        "the matrix plus the damping is indefinite: a direction of curvature {curvature:.3g} stopped conjugate "
        "gradients",
        INDEFINITE,
    ),
    ColumnStatus.STALLED: ("rounding keeps the residual at {residual:.2g}", "--dtype float64, or a larger --damping"),
    ColumnStatus.EXHAUSTED: ("the residual is {residual:.2g} after {iterations} iterations", MORE_ITERATIONS),
}


@dataclass(frozen=True, kw_only=True)
class ColumnEnds:
    """How the solves of K columns ended.

    `residuals` `(K,)` are |b - (A + damping I) x| / |b|, from a product with each x at the end. `status` tells where
    each column stands; `iterations` `(K,)` count its products before the last.
    """

    residuals: np.ndarray
    iterations: np.ndarray
    status: tuple[ColumnStatus, ...]
    curvatures: np.ndarray  # (K,), negative where it stopped a column; else NaN

    @cached_property
    def converged(self) -> bool:
        """Whether every residual is at most the tolerance."""
        return all(one is ColumnStatus.CONVERGED for one in self.status)

    @property
    def why(self) -> str:
        """Why the worst column has not converged; "" if all have."""
        return self._words[0]

    @property
    def fix(self) -> str:
        """What would make it converge."""
        return self._words[1]

    @property
    def _words(self) -> tuple[str, str]:
        for status, (why, fix) in ENDS.items():
            places = [place for place, one in enumerate(self.status) if one is status]
            if places:
                worst = max(places, key=lambda place: self.residuals[place])
                numbers = {"curvature": self.curvatures[worst], "residual": self.residuals[worst]}
                return why.format(**numbers, iterations=self.iterations[worst]), fix
        return "", ""


@dataclass(frozen=True, kw_only=True)
class Solution(ColumnEnds):
    """Solutions of (A + damping I) x = b by column, with their true residuals; `x` has the shape of the right sides."""

    x: Tensor
    products: int


def conjugate_gradients(
    systems: LinearSystems, goal: SolutionGoal, state: ConjugateGradientsState | None = None
) -> Iterator[ConjugateGradientsState]:
    """Yields the state after every pass over the data, until all columns rest.

    An earlier state goes on; columns that ended for lack of iterations run again if the goal has more of them.
    """
    state = begin_solution(systems) if state is None else _reopen(state, goal)
    while not state.finished:
        running = len(state.places(ColumnStatus.RUNNING))
        state = iterate(systems, state, goal) if running else verify(systems, state, goal)
        yield state


def _reopen(state: ConjugateGradientsState, goal: SolutionGoal) -> ConjugateGradientsState:
    more = (state.status == ColumnStatus.EXHAUSTED) & (state.iterations < goal.max_iterations)
    return replace(
        state,
        status=np.where(more, int(ColumnStatus.RUNNING), state.status),
        verified=np.where(more, np.nan, state.verified),
    )


def solution_of(state: ConjugateGradientsState) -> Solution:
    """The solution that a finished state holds."""
    return Solution(
        x=state.solution,
        residuals=state.verified,
        iterations=state.iterations,
        status=tuple(ColumnStatus(int(one)) for one in state.status),
        products=state.products,
        curvatures=np.where(state.status == ColumnStatus.NEGATIVE_CURVATURE, state.curvature, np.nan),
    )


def solve(
    operator: LinearOperator,
    v: Tensor,
    *,
    damping: float | Sequence[float] = 0.0,
    tol: float = TOL,
    max_iterations: int = MAX_ITERATIONS,
    preconditioner: LinearOperator | None = None,
) -> Solution:
    """(A + damping I)^-1 v for a vector `(P,)` or the columns of a block `(P, K)`, by conjugate gradients.

    A column ends when its residual is at most `tol` times its norm, and rests while others go on. `damping` is one
    number, or one for each column. `preconditioner` multiplies by a positive definite approximation of the inverse,
    such as `KroneckerOperator.inverse(damping)`. A matrix that is indefinite even with the damping is found by a
    direction of negative curvature: the solution then says so in `why`, and is not `converged`.

    Raises UsageError for vectors of another length, a negative damping, or another number of dampings than columns, and
    NumericalError if a product is not finite.

    >>> import landscape, torch
    >>> from landscape.operators import operator
    >>> ggn = operator("ggn", landscape.load("digits-mlp.pt", limit=100))
    >>> solution = landscape.solve(ggn, torch.ones(ggn.size), damping=0.1)
    >>> solution.converged, bool(solution.residuals.max() <= 1e-3), tuple(solution.x.shape)
    (True, True, (2950,))
    """
    if v.ndim not in (1, 2) or len(v) != operator.size:
        raise UsageError(
            f"the right sides have shape {tuple(v.shape)}, and the operator ({operator.size}, {operator.size})",
            fix=f"a vector ({operator.size},) or a block ({operator.size}, K)",
        )
    block = (v if v.ndim == 2 else v[:, None]).to(operator.like)
    systems = LinearSystems(operator, block, _dampings(damping, block.shape[1]), preconditioner)
    states = [begin_solution(systems)]
    for state in conjugate_gradients(systems, SolutionGoal(tol, max_iterations)):
        states[-1] = state
    solution = solution_of(states[-1])
    return solution if v.ndim == 2 else replace(solution, x=solution.x[:, 0])


def _dampings(damping: float | Sequence[float], columns: int) -> np.ndarray:
    """The damping of each column `(K,)`; raises UsageError for negative ones, or another number of them."""
    values = np.asarray(damping, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise UsageError(f"damping is {damping}", fix="a number >= 0")
    if values.ndim and values.shape != (columns,):
        raise UsageError(f"{values.size} dampings for {columns} columns", fix="one damping, or one for each column")
    return np.broadcast_to(values, (columns,)).copy()
