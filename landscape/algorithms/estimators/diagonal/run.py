"""The iteration of the estimator: which step comes next, and the steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.estimators.diagonal.state import (
    MIN_PROBES,
    PROBES_PER_PASS,
    DiagonalGoal,
    DiagonalState,
    error_and_square,
    initial_diagonal_state,
    relative_norm,
    sign_probe,
    sketch_diagonal,
)
from landscape.algorithms.lanczos.basis import orthogonalize, require_finite, rounding_floor, unit_vector
from landscape.compute.inner_products import norm, row_dots, row_norms
from landscape.network.space import ParameterGroup
from landscape.operators.base import LinearOperator

StepName = Literal["sketch", "probe", "entries"]
FEW = 4 * PROBES_PER_PASS  # entries that take no more products than the fewest of an estimate
DECAY = 1.0  # p of spread ~ (r + 8)^-p before two rounds have told
MAX_DECAY = 4.0
TRIAL_SHARE = 1 / 8  # of all entries: a second round of sketching that takes fewer products is tried first


@dataclass(frozen=True)
class _Forecast:
    """The step that leads to the goal in the fewest products, and their number."""

    step: StepName
    products: float


@dataclass(frozen=True)
class DiagonalProblem:
    """The matrix, the groups of parameters whose sums get an error of their own, and the seed of the probes.

    `images` `(P, 8)` are the products with the first sketched probes, where they are known.
    """

    operator: LinearOperator
    groups: Sequence[ParameterGroup]
    seed: int
    images: Tensor | None = None


def estimate_diagonal(
    problem: DiagonalProblem, goal: DiagonalGoal, resume: DiagonalState | None = None
) -> Iterator[DiagonalState]:
    """States after each pass of at most eight products, until the goal is reached or the limit on products."""
    operator = problem.operator
    state = resume or initial_diagonal_state(operator.like, operator.size, len(problem.groups), goal)
    while (name := next_diagonal_step(state, goal)) is not None:
        state = STEPS[name](problem, state, goal)
        yield state


def next_diagonal_step(state: DiagonalState, goal: DiagonalGoal) -> StepName | None:
    """The next step; None at the end."""
    left = goal.max_products - state.products
    if state.complete or left <= 0:
        return None
    if state.exact or (not state.products and state.size <= min(FEW, left)):
        return "entries"
    if not state.history.size and goal.capacity >= PROBES_PER_PASS and left >= 2 * PROBES_PER_PASS + goal.min_probes:
        return "sketch"
    if state.probes < 2 and not state.history.size:
        return "probe"
    if state.probes >= goal.min_probes and relative_norm(*error_and_square(state, goal)) <= goal.rtol:
        return None
    expected = _forecast(state, goal, left)
    return "entries" if expected.products > state.size <= left else expected.step


def forecast_products(spread: float, capacity: int) -> float:
    """Products of a sketch and of other probes, where `spread` other probes alone would reach the goal."""
    sizes = np.arange(0, max(capacity, 0) + 1, PROBES_PER_PASS)
    return float((2 * sizes + np.maximum(spread / (1 + sizes / PROBES_PER_PASS) ** DECAY, MIN_PROBES)).min())


def _forecast_probes(state: DiagonalState, goal: DiagonalGoal) -> float:
    """The other probes that reach the goal with the sketch as it is; infinite where errors hide the diagonal."""
    error, square = error_and_square(state, goal)
    if state.probes >= 2:
        spread = (error - goal.known_variance) * state.probes
    else:
        spread, square = _forecast_spread(state, state.rank), float(state.history[-1, 2])
    wanted = goal.rtol**2 * square - goal.known_variance
    return spread / wanted if wanted > 0 else math.inf


def _forecast_spread(state: DiagonalState, rank: int) -> float:
    """The sum of the variances of a probe's values with so many rows of Q, from those that rounds have measured."""
    if state.rank < state.sketched:  # the last products lay in Q
        return 0.0
    (before, first, _), (measured, last, _) = state.history[max(len(state.history) - 2, 0)], state.history[-1]
    power = DECAY
    if len(state.history) > 1 and last > 0 and first > 0:
        growth = math.log((measured + PROBES_PER_PASS) / (before + PROBES_PER_PASS)) if measured > before else 1.0
        power = min(max(math.log(first / last) / growth, 0.0), MAX_DECAY)
    return float(last * ((measured + PROBES_PER_PASS) / (rank + PROBES_PER_PASS)) ** power)


def _forecast(state: DiagonalState, goal: DiagonalGoal, left: int) -> _Forecast:
    """The cheapest way to the goal: more rows of Q as far as they save more products than they take, then probes.

    No row is added once there are other probes, whose values depend on Q.
    """
    needed = _forecast_probes(state, goal)
    room = min(goal.capacity, state.size) - state.rank if not state.probes else 0
    rounds = min(room, left // 2) // PROBES_PER_PASS if state.rank == state.sketched else 0  # else Q has all directions
    if math.isinf(needed):  # the errors hide the diagonal
        return _Forecast("sketch" if rounds else "probe", 0.0 if rounds else math.inf)
    now = _forecast_spread(state, state.rank) if state.history.size else 0.0
    costs = []
    for more in range(0, (rounds + 1) * PROBES_PER_PASS, PROBES_PER_PASS):
        share = _forecast_spread(state, state.rank + more) / now if now else 1.0
        costs.append(2 * more + max(needed * share, goal.min_probes) - state.probes)
    best = int(np.argmin(costs))
    tries = len(state.history) == 1 and rounds > 0 and TRIAL_SHARE * state.size > 2 * PROBES_PER_PASS
    if tries and costs[best] > state.size:
        return _Forecast("sketch", 0.0)  # which tells how fast the spread falls
    return _Forecast("sketch" if best else "probe", costs[best])


def add_diagonal_sketch(problem: DiagonalProblem, state: DiagonalState, goal: DiagonalGoal) -> DiagonalState:
    """Multiplies eight more probes; their products join Q, whose new rows are multiplied."""
    operator, first, rank = problem.operator, state.sketched, state.rank
    room = min(len(state.basis), operator.size) - rank
    count = max(1, min(PROBES_PER_PASS, room, (goal.max_products - state.products) // 2))
    fresh = _signs(problem, "sketched", first, count)
    known = problem.images if first == 0 and problem.images is not None and problem.images.shape[1] == count else None
    image = _require_finite(operator.matmat(fresh.T) if known is None else known).T.contiguous()
    told = _spread_and_square(state, goal, _values_beside_sketch(state, fresh, image).double())
    least = rounding_floor(image.dtype, float(row_norms(image).max()))
    for row in image.clone():
        orthogonalize(row[None], state.basis[:rank])
        length = require_finite(norm(row))
        if length > least:  # else the product lies in Q
            state.basis[rank] = row / length
            rank += 1
    added = state.basis[state.rank : rank]
    if len(added):
        state.images[state.rank : rank] = _require_finite(operator.matmat(added.T)).T
    return replace(
        state,
        rank=rank,
        sketched=first + count,
        products=state.products + count + len(added),
        history=np.concatenate([state.history, [[state.rank, *told]]]),
    )


def add_diagonal_probes(problem: DiagonalProblem, state: DiagonalState, goal: DiagonalGoal) -> DiagonalState:
    """Multiplies eight more probes, or as many as are left, after Q has been projected out of them."""
    count = min(state.width, goal.max_products - state.products)
    fresh = _signs(problem, "other", state.probes, count)
    inside = fresh.clone()
    orthogonalize(inside, state.basis[: state.rank])
    image = _require_finite(problem.operator.matmat(inside.T)).T.contiguous()
    del inside
    orthogonalize(image, state.basis[: state.rank])
    by_group = [sum(map(row_dots, group.of(fresh), group.of(image))) for group in problem.groups]
    groups = torch.stack(by_group, dim=1).cpu().numpy() if by_group else np.zeros((count, 0))  # type: ignore[arg-type]
    values, mean, scatter, seen = fresh.mul_(image), state.mean.copy(), state.scatter.copy(), state.probes
    for row in values:  # Welford 1962
        seen += 1
        entries = row.double().cpu().numpy()
        change = entries - mean
        mean += change / seen
        scatter += change * (entries - mean)
    return replace(
        state,
        mean=mean,
        scatter=scatter,
        group_values=np.concatenate([state.group_values, groups]),
        products=state.products + count,
    )


def add_entries(problem: DiagonalProblem, state: DiagonalState, goal: DiagonalGoal) -> DiagonalState:
    """Computes the next eight entries themselves, which begins anew what probes have told."""
    operator, first = problem.operator, state.exact
    count = min(state.width, operator.size - first, goal.max_products - state.products)
    units = torch.stack([unit_vector(operator.size, operator.like, first + index) for index in range(count)])
    mean = state.mean.copy() if first else np.zeros(state.size)
    mean[first : first + count] = row_dots(units, _require_finite(operator.matmat(units.T)).T).cpu().numpy()
    scatter = state.scatter if first else np.zeros(state.size)
    return replace(state, mean=mean, scatter=scatter, exact=first + count, products=state.products + count)


STEPS = {"sketch": add_diagonal_sketch, "probe": add_diagonal_probes, "entries": add_entries}


def _signs(problem: DiagonalProblem, name: str, first: int, count: int) -> Tensor:
    """Some probes after others, as rows."""
    operator = problem.operator
    probes = [sign_probe(operator.size, operator.like, problem.seed, name, first + index) for index in range(count)]
    return torch.stack(probes)


def _spread_and_square(state: DiagonalState, goal: DiagonalGoal, values: Tensor) -> tuple[float, float]:
    """The sum over entries of the variance of probes' values `(K, P)`, and the squared norm of the whole diagonal."""
    if len(values) < 2:
        return math.inf, 0.0
    spread, entries = float(values.var(dim=0).sum()), values.mean(dim=0).cpu().numpy() + sketch_diagonal(state)
    whole = entries if goal.known is None else entries + goal.known
    return spread, float((whole**2).sum()) - spread / len(values) - goal.known_variance


def _values_beside_sketch(state: DiagonalState, probes: Tensor, images: Tensor) -> Tensor:
    """z * (P A P z) of probes z as rows with their products A z, with P = I - QQ'."""
    rows = state.basis[: state.rank]
    rest = images - (probes @ rows.T) @ state.images[: state.rank] if state.rank else images.clone()
    orthogonalize(rest, rows)
    return rest.mul_(probes)


def _require_finite(image: Tensor) -> Tensor:
    require_finite(norm(image.T))
    return image
