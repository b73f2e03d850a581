"""Local maxima of a function on a ball, from several starts at once.

On the sphere of an l2 ball a step follows the tangent part r of the gradient z, and returns to the sphere. Its first
length is that of the generalized power method, u <- rho z / ||z|| (Journee et al. 2010); later lengths are those of
Barzilai and Borwein (1988), computed from the change of r. Inside the ball, and in a linf ball, a step goes towards the
point of the ball that is farthest along the gradient (Frank and Wolfe 1956). A step that does not increase the value is
shortened by quadratic interpolation, so that values never fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.ascent.ball import Ball
from landscape.algorithms.snapshots import TENSOR
from landscape.compute.inner_products import dot

# values (k,) in float64 and gradients (k, P) at the rows of (k, P)
EvaluateRows = Callable[[Tensor], tuple[np.ndarray, Tensor]]

# Bounds of a step's length on the sphere, relative to the power method's; longer steps overshot and cost evaluations.
LENGTH_BOUNDS = (0.05, 10.0)
UPWARD_GROWTH = 2.0  # factor on a step's length where the function curves upwards along the sphere
SHORTENING_BOUNDS = (0.1, 0.5)  # of the factor on a step that did not increase the value
MAX_SHORTENINGS = 6  # in a row, after which an ascent is done: the step is then below 2 % of the first one
SMALL_GAIN = 1e-6  # relative to the rise
MAX_SMALL_GAINS = 2  # in a row, after which an ascent is done


@dataclass(frozen=True)
class AscentState:
    """S ascents after some rounds; the rows of `points` and `directions` are rewritten by each round."""

    points: Tensor = field(metadata=TENSOR)  # (S, P)
    directions: Tensor = field(
        metadata=TENSOR
    )  # (S, P), of the next step: tangents on the sphere, or to the farthest point
    values: np.ndarray  # (S,), NaN before the first round
    climbs: np.ndarray  # (S,), derivative along the direction
    lengths: np.ndarray  # (S,), of the next step in units of the direction
    natural: np.ndarray  # (S,), the power method's length; 0 for steps that do not follow the sphere
    stationarity: np.ndarray  # (S,), 1 - <u, z> / (rho ||z||*): 0 at a local maximum on the boundary
    tries: np.ndarray  # (S,), shortenings in a row
    quiet: np.ndarray  # (S,), small gains in a row
    done: np.ndarray  # (S,)
    rounds: int
    evaluations: int


def ascend(
    evaluate: EvaluateRows,
    ball: Ball,
    starts: Tensor,
    base: float,
    *,
    steps: int,
    rows_per_call: int = 1,
    resume: AscentState | None = None,
) -> Iterator[AscentState]:
    """States after each of at most `steps` rounds; in a round every ascent that is not done evaluates one point.

    `starts (S, P)` lie in the ball and become the state's own; `rows_per_call` rows share an evaluation. `base` is the
    value at the center: gains are relative to the rise above it. A value that is not finite ends its ascent and stays.
    """
    state = resume or _begin(starts)
    while state.rounds < steps and not state.done.all():
        live = np.flatnonzero(~state.done)
        for first in range(0, len(live), rows_per_call):
            chosen = live[first : first + rows_per_call]
            single = len(chosen) == 1  # which needs no copy
            trials = _trial(state, ball, chosen[0])[None] if single else _trials(state, ball, chosen)
            values, gradients = evaluate(trials)
            for row, trial, value, gradient in zip(chosen, trials, values, gradients, strict=True):
                _update(state, ball, row, trial, float(value), gradient, base)
            del trials, trial, gradients, gradient  # before the next ones are computed
        state = replace(state, rounds=state.rounds + 1, evaluations=state.evaluations + len(live))
        yield state


def _begin(starts: Tensor) -> AscentState:
    count = len(starts)
    unknown, zeros = np.full(count, np.nan), np.zeros(count, int)
    return AscentState(
        points=starts,
        directions=torch.zeros_like(starts),
        values=unknown.copy(),
        climbs=np.zeros(count),
        lengths=np.zeros(count),
        natural=np.zeros(count),
        stationarity=unknown.copy(),
        tries=zeros.copy(),
        quiet=zeros.copy(),
        done=np.zeros(count, bool),
        rounds=0,
        evaluations=0,
    )


def _trials(state: AscentState, ball: Ball, rows: np.ndarray) -> Tensor:
    return torch.stack([_trial(state, ball, row) for row in rows])


def _trial(state: AscentState, ball: Ball, row: int) -> Tensor:
    """The point to evaluate next; in the first round the start itself."""
    point = torch.add(state.points[row], state.directions[row], alpha=float(state.lengths[row]))
    return ball.to_sphere(point) if state.natural[row] else point


def _update(
    state: AscentState, ball: Ball, row: int, trial: Tensor, value: float, gradient: Tensor, base: float
) -> None:
    """Accepts the trial if its value is larger, or shortens the step."""
    earlier = state.values[row]
    if not np.isfinite(value):
        state.values[row], state.done[row] = value, True
    elif np.isnan(earlier):
        _accept(state, ball, row, trial, value, gradient)
    elif value > earlier:
        gain = (value - earlier) / max(abs(value - base), np.finfo(float).tiny)
        _accept(state, ball, row, trial, value, gradient)
        state.quiet[row] = state.quiet[row] + 1 if gain < SMALL_GAIN else 0
        state.done[row] |= state.quiet[row] == MAX_SMALL_GAINS
    else:
        expected = state.climbs[row] * state.lengths[row]
        lost = expected - (value - earlier)  # of the increase that the gradient predicts
        state.lengths[row] *= float(
            np.clip(expected / (2 * lost) if lost > 0 else SHORTENING_BOUNDS[1], *SHORTENING_BOUNDS)
        )
        state.tries[row] += 1
        state.done[row] |= state.tries[row] == MAX_SHORTENINGS


def _accept(state: AscentState, ball: Ball, row: int, trial: Tensor, value: float, gradient: Tensor) -> None:
    """Makes the trial the ascent's point, and chooses the next direction and its length."""
    dual = float(ball.dual(gradient))
    outward = dot(gradient, trial)
    state.stationarity[row] = max(0.0, 1 - outward / (ball.rho * dual)) if dual > 0 else 0.0
    if ball.on_sphere(trial) and outward > 0:
        tangent = torch.sub(gradient, trial, alpha=outward / ball.rho**2)
        natural = ball.rho**2 / outward
        length = natural
        if state.natural[row]:
            shortest, longest = (bound * natural for bound in LENGTH_BOUNDS)
            length = min(max(_barzilai_borwein(state, row, tangent), shortest), longest)
    else:
        tangent, natural, length = ball.farthest(gradient) - trial, 0.0, 1.0
    state.points[row], state.directions[row] = trial, tangent
    state.values[row], state.tries[row] = value, 0
    state.natural[row], state.lengths[row] = natural, length
    state.climbs[row] = dot(gradient, tangent)
    state.done[row] |= not state.climbs[row] > 0


def _barzilai_borwein(state: AscentState, row: int, tangent: Tensor) -> float:
    """The length s's / s'y for the last step s = length r and the change y of the tangent gradient."""
    before = state.directions[row]
    squared = dot(before, before)
    fallen = squared - dot(before, tangent)
    length = float(state.lengths[row])
    return length * squared / fallen if fallen > 0 else UPWARD_GROWTH * length
