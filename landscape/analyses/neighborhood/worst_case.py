"""The worst case: local maxima over balls of growing radius, searched on every part of the data."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.ascent import ascent, flips, starts
from landscape.algorithms.ascent.ball import Ball
from landscape.algorithms.snapshots import restore, snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.neighborhood.ball_maxima import BallMaxima
from landscape.analyses.neighborhood.ball_objective import BallObjective
from landscape.analyses.neighborhood.search_state import (
    FOLLOWING_STEPS,
    BallSearch,
    PartState,
    WorstCaseState,
    append_part,
    begin_part,
    no_maxima,
)
from landscape.analyses.shared.products import count_gradients
from landscape.compute.inner_products import dot
from landscape.errors import NumericalError, TaskError
from landscape.network.space import ParameterGroup
from landscape.objective import Objective
from landscape.operators import HessianOperator, ScaledOperator

# The basis of the eigenvectors may take the memory that the ascents need afterwards, two vectors for each start, except
# for these vectors, which the Hessian-vector products of the eigenvectors take.
VECTORS_OF_PRODUCTS = 6


def maximize_in_balls(
    objective: Objective,
    scales: Tensor,
    function_on: Callable[[Objective], BallObjective],
    search: BallSearch,
    groups: Sequence[ParameterGroup],
    resume: State,
) -> Generator[Progress, None, BallMaxima]:
    """Searches the maxima of a function of u; `scales (P,)` are c, and `function_on` makes the function of each part.

    Yields after each product for the eigenvectors of a part and after each round of its ascents. Parts whose targets
    are all ignored are left out.
    """
    size = search.samples or objective.batches.samples
    parts = -(-objective.batches.samples // size)
    whole = WorstCaseState(0, no_maxima(search, len(groups)))
    reporter = Reporter(search, parts, restore(WorstCaseState, resume, objective.theta) if resume else whole)
    for index, part in enumerate(objective.parts(size) if search.samples else [objective]):
        if index < reporter.whole.part or part.count == 0:
            continue
        begin = reporter.whole.current or begin_part(part.count, search, len(groups))
        reporter.update(part=index, current=begin)
        del begin  # the reporter alone refers to large tensors, and drops them as soon as they are not needed
        end = yield from _search_part(part, scales, function_on(part), search, groups, reporter)
        share = part.batches.samples / objective.batches.samples
        reporter.update(part=index + 1, current=None, finished=append_part(reporter.whole.finished, end, share))
        del end
    return reporter.whole.finished


class Reporter:
    """Makes the progress of a search, whose snapshots are those of the newest state.

    Progress refers to the reporter rather than to a state: otherwise the last progress of a step would keep the large
    tensors of that step alive while the next step allocates its own.
    """

    def __init__(self, search: BallSearch, parts: int, whole: WorstCaseState) -> None:
        self.search, self.parts, self.whole = search, parts, whole

    def update(self, **changes: Any) -> None:
        """Replaces fields of the newest state."""
        self.whole = replace(self.whole, **changes)

    def progress(self, state: PartState) -> Progress:
        """The progress at this state of the present part, which becomes the newest one."""
        self.update(current=state)
        search, part = self.search, self.whole.part
        rounds = state.ascent.rounds if state.ascent else 0
        order, longest = search.order, max(search.steps, FOLLOWING_STEPS if search.curve else 0)
        done = (part * len(order) + state.radius) * longest + rounds
        total = self.parts * len(order) * longest
        note = f"radius {order[state.radius]:g}"
        if self.parts > 1:
            note = f"part {part + 1} of {self.parts}, {note}"
        if state.lanczos:
            note += f", eigenvectors of the starts, {state.lanczos.products} products"
        if state.ascent:
            note += f", {len(state.ascent.values)} starts, step {rounds}"
        return Progress(min(done, total), total, note, lambda: snapshot(self.whole))


def _search_part(
    part: Objective,
    scales: Tensor,
    function: BallObjective,
    search: BallSearch,
    groups: Sequence[ParameterGroup],
    reporter: Reporter,
) -> Generator[Progress, None, PartState]:
    """The state of one part of the data at its end."""
    state = reporter.whole.current
    assert state is not None  # the caller has begun the part
    if state.vectors is None:
        state = yield from _find_eigenvectors(part, scales, function, search, state, reporter)
        reporter.update(current=state)
    while state.radius < len(search.order):
        state = yield from _climb(scales, function, search, state, reporter)
        state = replace(state, radius=state.radius + 1)
        if search.curve and state.radius == len(search.radii):
            state = replace(state, head=state.best)
        reporter.update(current=state)
    shares = _shares(function, state.head if search.curve else state.best, groups)
    return replace(state, shares=shares, gradients=state.gradients + (function.gradients if groups else 0.0))


def _find_eigenvectors(
    part: Objective,
    scales: Tensor,
    function: BallObjective,
    search: BallSearch,
    state: PartState,
    reporter: Reporter,
) -> Generator[Progress, None, PartState]:
    """Adds the dual norm of the slope at the center, and the leading eigenvectors from which ascents start."""
    count = starts.eigenvector_count(search.starts)
    operator = ScaledOperator(HessianOperator(part), scales)
    rows = 2 * search.starts - VECTORS_OF_PRODUCTS
    vectors, curvature = torch.zeros((0, len(scales)), dtype=scales.dtype, device=scales.device), np.nan
    work = function.gradients  # of the value and the slope at the center
    with suppress(TaskError, NumericalError):  # without second derivatives: random starts take their place
        for lanczos in starts.eigenvector_search(operator, count, search.seed, rows, state.lanczos) if count else ():
            state = replace(state, lanczos=lanczos)
            yield reporter.progress(state)
        if state.lanczos is not None:
            vectors, values = starts.leading_eigenvectors(state.lanczos, count)
            curvature = float(values[0])
            work += count_gradients(part, products=state.lanczos.products)
    dual = float(Ball(search.norm, 1.0).dual(function.slope()))
    return replace(state, dual=dual, curvature=curvature, vectors=vectors, lanczos=None, gradients=work)


def _climb(
    scales: Tensor,
    function: BallObjective,
    search: BallSearch,
    state: PartState,
    reporter: Reporter,
) -> Generator[Progress, None, PartState]:
    """Adds the ends of the ascents at the present radius."""
    ball = Ball(search.norm, search.order[state.radius])
    follows = search.follows(state.radius)
    if follows:
        begin, steps = _following_starts(ball, function, search, state), FOLLOWING_STEPS
    else:
        begin, steps = _starts(scales, ball, function, search, state), search.steps
    ascents = earlier = state.ascent
    for ascents in ascent.ascend(
        function.evaluate, ball, begin, function.base, steps=steps, rows_per_call=function.width, resume=earlier
    ):
        state = replace(state, ascent=ascents)
        if ascents.rounds == 1:
            state = replace(state, one_step=_put(state.one_step, state.radius, ascents.values[0] - function.base))
        yield reporter.progress(state)
    assert ascents is not None  # steps >= 1
    if _signs_matter(search, scales):  # a resumed run repeats the flips: snapshots hold the ends of the ascents
        rounds = flips.polish_corners(function.evaluate, ball, ascents, function.base, rows_per_call=function.width)
        for polished in rounds:
            ascents = polished
            yield reporter.progress(state)
    rows = (state.radius, slice(len(ascents.values)))
    stationarity = np.where(np.isnan(ascents.stationarity), 1.0, ascents.stationarity)
    return replace(
        state,
        rises=_put(state.rises, rows, ascents.values - function.base),
        stationarity=_put(state.stationarity, rows, stationarity),
        evaluations=state.evaluations + ascents.evaluations,
        gradients=state.gradients + function.gradients * ascents.evaluations,
        best=ascents.points[int(np.nan_to_num(ascents.values, nan=-np.inf).argmax())].clone(),
        ascent=None,
    )


def _starts(scales: Tensor, ball: Ball, function: BallObjective, search: BallSearch, state: PartState) -> Tensor:
    """The starts `(S, P)` at a radius, with the best point of a smaller one: so no radius finds less than that."""
    assert state.vectors is not None
    begin = starts.start_points(search.starts, ball, function.slope(), state.vectors, scales > 0, search.seed)
    return begin if state.best is None or search.starts == 1 else torch.cat([begin, state.best[None]])


def _following_starts(ball: Ball, function: BallObjective, search: BallSearch, state: PartState) -> Tensor:
    """The starts `(2, P)` at a radius of the curve: the maximum at its neighbor, and along the gradient.

    The maximum at a smaller radius is a start as it is, so that no radius finds less than that; one at a larger radius
    is drawn into the ball.
    """
    index = state.radius
    leaves, order = search.leaves_head(index), search.order
    neighbor, radius = (state.head, search.radii[-1]) if leaves else (state.best, order[index - 1])
    assert neighbor is not None
    inside = neighbor * min(1.0, ball.rho / radius)
    return torch.stack([inside, ball.farthest(function.slope())])


def _signs_matter(search: BallSearch, scales: Tensor) -> bool:
    """Whether corners of a box are so few-dimensional that single signs matter; not for one start or one step.

    Published protocols have one start, and a single step is an estimate of its own.
    """
    searching = search.norm == "linf" and search.starts > 1 and search.steps > 1
    return searching and int((scales > 0).sum()) <= flips.MAX_FLIPPED_PARAMETERS


def _shares(function: BallObjective, best: Tensor | None, groups: Sequence[ParameterGroup]) -> np.ndarray:
    """The share of each group in <slope, u> at the point u."""
    if not groups:
        return np.zeros(0)
    assert best is not None
    _, slopes = function.evaluate(best[None])
    sums = np.array([sum(map(dot, group.of(slopes[0]), group.of(best))) for group in groups])
    return sums / sums.sum() if sums.sum() else sums


def _put(array: np.ndarray, place: int | tuple[int, slice], values: Any) -> np.ndarray:
    """A copy of the array with these values at one place."""
    changed = array.copy()
    changed[place] = values
    return changed
