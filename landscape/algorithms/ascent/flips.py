"""Sign flips that lead from a corner of a box to a higher one, where ascents along the gradient end.

In a box of few dimensions a corner may be a local maximum although the change of a few signs reaches a higher corner.
The signs with the smallest slope are changed one by one. The slopes after each change tell how much two changes depend
on each other, which predicts the value after every combination of changes; the best combinations are evaluated too.
A corner is left only for one whose evaluated value is higher.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.ascent.ascent import SMALL_GAIN, AscentState, EvaluateRows
from landscape.algorithms.ascent.ball import Ball
from landscape.compute.inner_products import dot

# In a net of 194 parameters flips raised a maximum by 0.04 %, in one of 98 by up to 2.8 %: beyond this number of
# parameters a few signs do not matter.
MAX_FLIPPED_PARAMETERS = 128
CANDIDATES = 12  # signs that are changed one by one; all 2^12 combinations of them are predicted
COMBINATIONS = 4  # of these that are evaluated, the most promising first
POLISHED_ENDS = 2  # ascents, the highest first: with the second, half as many maxima of tiny nets were missed
MAX_FLIP_ROUNDS = 4  # for each end; most rounds find nothing


@dataclass(frozen=True)
class Corner:
    """A point u `(P,)` of the box with the value and the gradient `(P,)` there."""

    point: Tensor
    value: float
    gradient: Tensor


def polish_corners(
    evaluate: EvaluateRows, ball: Ball, state: AscentState, base: float, *, rows_per_call: int = 1
) -> Iterator[AscentState]:
    """States after each round of sign flips at the ends of the best ascents in a linf ball.

    Only ends of finite value are left, and only for higher ones; ascents with the same end move together. A value that
    is not finite takes the place of its ascents', as in an ascent. `base` is the value at the center.
    """
    state = replace(state, points=state.points.clone())
    for rows in _highest_ends(state):
        values, gradients = evaluate(state.points[rows[:1]])
        state = replace(state, evaluations=state.evaluations + 1)
        corner = Corner(state.points[rows[0]].clone(), float(values[0]), gradients[0])
        for _ in range(MAX_FLIP_ROUNDS):
            trials = _evaluate_flips(evaluate, corner, rows_per_call)
            state = replace(state, evaluations=state.evaluations + len(trials))
            best = _highest(trials or [corner])
            higher = best.value - corner.value > SMALL_GAIN * abs(corner.value - base)
            if higher or not np.isfinite(best.value):
                state, corner = _move(state, ball, rows, best), best
            yield state
            if not higher or not np.isfinite(best.value):
                break


def _highest_ends(state: AscentState) -> list[list[int]]:
    """The ascents at each of the highest ends; none if a value is not finite."""
    ends: list[list[int]] = []
    if not np.isfinite(state.values).all():
        return ends
    for row in np.argsort(-state.values, kind="stable").tolist():
        same = next((rows for rows in ends if torch.equal(state.points[row], state.points[rows[0]])), None)
        if same is None:
            ends.append([row])
        else:
            same.append(row)
    return ends[:POLISHED_ENDS]


def _evaluate_flips(evaluate: EvaluateRows, corner: Corner, rows_per_call: int) -> list[Corner]:
    """The corners after single flips, and after the combinations of them that promise to be higher."""
    slopes = torch.where(corner.gradient != 0, corner.point * corner.gradient, torch.inf)
    lowest = torch.argsort(slopes)[: min(CANDIDATES, int((corner.gradient != 0).sum()))]
    flips = torch.eye(len(lowest), dtype=torch.bool, device=lowest.device)
    singles = _evaluate(evaluate, _flip_signs(corner.point, lowest, flips), rows_per_call)
    if len(singles) < 2 or not all(np.isfinite(single.value) for single in singles):
        return singles
    combinations = torch.from_numpy(_promising_combinations(corner, lowest, singles)).to(lowest.device)
    return singles + _evaluate(evaluate, _flip_signs(corner.point, lowest, combinations), rows_per_call)


def _promising_combinations(corner: Corner, lowest: Tensor, singles: list[Corner]) -> np.ndarray:
    """The flips `(n, k)` of several of k signs whose predicted value is highest and above the corner's.

    The change by flips of i and j is predicted as d_i + d_j + D_ij, with d the changes by single flips and D_ij the
    change that the flip of j gains by that of i, from the slopes before and after the latter.
    """
    gains = np.array([single.value for single in singles]) - corner.value
    after = torch.stack([single.gradient[lowest] for single in singles])
    coupling = (-2 * corner.point[lowest] * (after - corner.gradient[lowest])).double().cpu().numpy()
    coupling = (coupling + coupling.T) / 2
    np.fill_diagonal(coupling, 0.0)
    count = len(lowest)
    flips = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    predicted = flips @ gains + ((flips @ coupling) * flips).sum(axis=1) / 2
    predicted[flips.sum(axis=1) < 2] = -np.inf
    best = np.argsort(-predicted, kind="stable")[:COMBINATIONS]
    promising: np.ndarray = flips[best[predicted[best] > 0]].astype(bool)
    return promising


def _flip_signs(point: Tensor, places: Tensor, flips: Tensor) -> Tensor:
    """The points `(n, P)` whose coordinates at `places` `(k,)` change their sign where `flips` `(n, k)` is True."""
    rows = point.repeat(len(flips), 1)
    rows[:, places] = torch.where(flips, -rows[:, places], rows[:, places])
    return rows


def _evaluate(evaluate: EvaluateRows, rows: Tensor, rows_per_call: int) -> list[Corner]:
    corners = []
    for chunk in torch.split(rows, rows_per_call) if len(rows) else ():
        values, gradients = evaluate(chunk)
        corners += [Corner(*parts) for parts in zip(chunk, map(float, values), gradients, strict=True)]
    return corners


def _highest(corners: list[Corner]) -> Corner:
    """The corner of the highest value, or one whose value is not finite."""
    return max(corners, key=lambda corner: (not np.isfinite(corner.value), corner.value))


def _move(state: AscentState, ball: Ball, rows: list[int], corner: Corner) -> AscentState:
    """The state whose ascents `rows` end at this corner."""
    values, stationarity = state.values.copy(), state.stationarity.copy()
    values[rows] = corner.value
    if np.isfinite(corner.value):
        dual = float(ball.dual(corner.gradient))
        outward = dot(corner.gradient, corner.point)
        stationarity[rows] = max(0.0, 1 - outward / (ball.rho * dual)) if dual > 0 else 0.0
        state.points[rows] = corner.point
    return replace(state, values=values, stationarity=stationarity)
