"""The influence of each training sample on its own loss: g' (A + damping I)^-1 g / n."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.linear_systems.solve import ColumnEnds
from landscape.algorithms.linear_systems.state import ColumnStatus, SolutionGoal
from landscape.analyses.base import Progress, State, Trouble
from landscape.analyses.influence.gradients import gradient_rows, score_rows
from landscape.analyses.influence.solving import (
    Matrix,
    SolvedQueries,
    describe_trouble,
    residuals_of,
    solve_by_iterations,
)
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.compute.inner_products import row_dots
from landscape.evaluation.chosen_samples import on_chosen_samples

if TYPE_CHECKING:
    from landscape.analyses.influence.damping import Damping
    from landscape.objective import Objective

ENDS = ("residuals", "iterations", "status", "curvatures")  # of each sample's solves at both dampings, `(N, 2)`
RESIDUAL_SAMPLES = 8  # random ones, whose solutions by Kronecker factors are multiplied by the matrix


@dataclass(frozen=True)
class SelfInfluences:
    """g'(A + damping I)^-1 g at both dampings, `(N,)` each, not divided by n, and the largest residual of a solve."""

    values: np.ndarray
    compared: np.ndarray
    residual: float
    products: int
    trouble: Trouble | None = None


def by_factors(
    matrix: Matrix, scored: Objective, damping: Damping, seed: int, saved: State
) -> Generator[Progress, None, SelfInfluences]:
    """By Kronecker factors, in one pass; the residuals are those of a few random samples."""
    assert matrix.kronecker is not None
    kronecker, count = matrix.kronecker, min(RESIDUAL_SAMPLES, scored.batches.samples)
    state = dict(saved)
    if not state:
        numbers = seeds.normal(scored.batches.samples, torch.zeros(()), seed, "influence", "residuals")
        places = sorted(torch.argsort(numbers)[:count].tolist())
        right = gradient_rows(on_chosen_samples(scored, places)).T.contiguous()
        solutions = kronecker.inverse(damping.layer_pair[0], 0.0).matmat(right)
        values = score_rows(scored, lambda rows: kronecker.inverse_quadratics(rows, damping.layer_pair))[:, :-1]
        residuals = residuals_of(matrix, right, solutions, damping)
        state = {"values": values.cpu().numpy(), "residuals": residuals}
        yield Progress(1, 1, "self-influence", partial(dict, state))
    own, compared = state["values"].T
    return SelfInfluences(own, compared, float(state["residuals"].max()), count)


def by_iterations(
    matrix: Matrix, scored: Objective, damping: Damping, saved: State
) -> Generator[Progress, None, SelfInfluences]:
    """By conjugate gradients, some samples after others; a state holds the values so far and the solves under way.

    Samples whose solves a smaller limit of iterations had ended, and those after them, are solved again.
    """
    total, width = scored.batches.samples, matrix.goal.width
    within, done = phase_state("solve", saved), {n: v for n, v in saved.items() if not n.startswith("solve.")}
    done = done or {**{name: np.zeros((0, 2)) for name in ("values", *ENDS)}, "products": np.zeros(0)}
    again = np.flatnonzero(_may_go_on(done, matrix.goal))
    if len(again):
        first = int(again[0]) // width * width
        within, done = {}, {name: values[:first] for name, values in done.items()}
    finished = len(done["values"])
    while finished < total:
        places = range(finished, min(finished + width, total))
        rows = gradient_rows(on_chosen_samples(scored, places))
        steps = solve_by_iterations(matrix, rows, damping, within)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                solved = end.value
                break
            state = partial(_join, done, step.state)
            yield Progress(finished, total, f"samples {places[0]} to {places[-1]}, {step.note}", state)
        done = {name: np.concatenate([done[name], values]) for name, values in _by_sample(rows, solved).items()}
        within, finished = {}, places[-1] + 1
    own, compared = done["values"].T
    residual, products = float(done["residuals"][:, 0].max()), round(done["products"].sum())
    return SelfInfluences(own, compared, residual, products, describe_trouble(_ends(done)))


def _by_sample(rows: Tensor, solved: SolvedQueries) -> dict[str, np.ndarray]:
    """What is kept of the solves of some samples with gradients `(n, P)`: arrays with a row for each sample."""
    assert solved.ends is not None
    values = [row_dots(rows, part.T).cpu().numpy() for part in (solved.x, solved.compared)]
    ends = {name: np.reshape(getattr(solved.ends, name), (2, len(rows))).T for name in ENDS}
    return {
        "values": np.stack(values, axis=1),
        "products": np.full(len(rows), solved.products / len(rows)),
        **{name: part.astype(np.float64) for name, part in ends.items()},
    }


def _may_go_on(done: State, goal: SolutionGoal) -> np.ndarray:
    """The samples `(N,)` with a solve that a smaller limit of iterations had ended."""
    stopped = (done["status"] == ColumnStatus.EXHAUSTED) & (done["iterations"] < goal.max_iterations)
    found: np.ndarray = stopped.any(axis=1)
    return found


def _ends(done: State) -> ColumnEnds:
    """How all solves ended, those of an earlier run among them."""
    residuals, iterations, status, curvatures = (done[name].ravel() for name in ENDS)
    return ColumnEnds(
        residuals=residuals,
        iterations=iterations.astype(np.int64),
        status=tuple(ColumnStatus(int(one)) for one in status),
        curvatures=curvatures,
    )


def _join(done: State, solve: Callable[[], State]) -> dict[str, np.ndarray]:
    return {**done, **prefix_state("solve", solve())}
