"""The influence of each training sample on its own loss: g' (A + damping I)^-1 g / n."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from landscape import seeds
from landscape.analyses.base import Progress, State, Trouble
from landscape.analyses.influence.gradients import gradient_rows, score_rows
from landscape.analyses.influence.solving import Matrix, residuals_of, solve_by_iterations
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.compute.inner_products import row_dots
from landscape.evaluation.chosen_samples import on_chosen_samples

if TYPE_CHECKING:
    from landscape.analyses.influence.damping import Damping
    from landscape.objective import Objective

BY_SAMPLE = ("products", "limits")  # each sample's part of the products, and the limit that ended its solves, or 0
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
    total = scored.batches.samples
    done = dict(saved) or {"values": np.zeros((0, 2)), **{name: np.zeros(0) for name in ("residuals", *BY_SAMPLE)}}
    within, done = phase_state("solve", done), {n: v for n, v in done.items() if not n.startswith("solve.")}
    again = np.flatnonzero((done["limits"] > 0) & (done["limits"] < matrix.goal.max_iterations))
    if len(again):
        within, done = {}, {name: values[: again[0]] for name, values in done.items()}
    finished = len(done["values"])
    trouble: Trouble | None = None
    while finished < total:
        places = range(finished, min(finished + matrix.goal.width, total))
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
        values = [row_dots(rows, part.T).cpu().numpy() for part in (solved.x, solved.compared)]
        exhausted = solved.trouble is not None and solved.trouble.kind == "unfinished"
        done = {
            "values": np.vstack([done["values"], np.stack(values, axis=1)]),
            "residuals": np.append(done["residuals"], solved.residuals),
            "products": np.append(done["products"], np.full(len(places), solved.products / len(places))),
            "limits": np.append(done["limits"], np.full(len(places), exhausted * matrix.goal.max_iterations)),
        }
        trouble, within, finished = trouble or solved.trouble, {}, places[-1] + 1
    own, compared = done["values"].T
    return SelfInfluences(own, compared, float(done["residuals"].max()), round(done["products"].sum()), trouble)


def _join(done: State, solve: Callable[[], State]) -> dict[str, np.ndarray]:
    return {**done, **prefix_state("solve", solve())}
