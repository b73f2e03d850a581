"""Local maxima of a function on a ball, from several starts at once.

On the sphere of an l2 ball a step goes along the slope's tangent part r, and back onto the sphere. Its first length is
that of the generalised power method, u <- rho z / ||z|| (Journee et al. 2010), and the later ones are those of Barzilai
and Borwein (1988), from the change of r alone. Inside the ball, and in a linf ball, a step goes towards the point of
the ball that is farthest along the slope (Frank and Wolfe 1956). A step that does not climb is shortened by quadratic
interpolation: values never fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.ascent.ball import Ball
from landscape.algorithms.snapshots import TENSOR

# values (k,) in float64 and slopes (k, P) at the rows of (k, P)
Evaluate = Callable[[Tensor], tuple[np.ndarray, Tensor]]

LENGTHS = (0.05, 10.0)  # of a step on the sphere, in the power method's own; longer ones overshot and cost evaluations
GROWTH = 2.0  # of a step's length where the function curves upwards along the sphere
SHORTER = (0.1, 0.5)  # bounds of what a step that did not climb is shortened by
TRIES = 6  # shortenings in a row after which a start is at its top: the step is then below 2 % of the first
SMALL_GAIN = 1e-6  # relative to the rise; twice in a row it ends an ascent
ENOUGH = 2


@dataclass(frozen=True)
class AscentState:
    """S ascents after some rounds; the rows of `points` and `directions` are rewritten by each round."""

    points: Tensor = field(metadata=TENSOR)  # (S, P)
    directions: Tensor = field(
        metadata=TENSOR
    )  # (S, P), where the next step goes: tangents on the sphere, or to the farthest point
    values: np.ndarray  # (S,), NaN before the first round
    climbs: np.ndarray  # (S,), slope along the direction
    lengths: np.ndarray  # (S,), of the next step in units of the direction
    natural: np.ndarray  # (S,), the power method's length; 0 where the step is not along the sphere
    stationarity: np.ndarray  # (S,), 1 - <u, z> / (rho ||z||*): 0 at a local maximum on the boundary
    tries: np.ndarray  # (S,), shortenings in a row
    quiet: np.ndarray  # (S,), small gains in a row
    done: np.ndarray  # (S,)
    rounds: int
    evaluations: int


def ascend(
    evaluate: Evaluate,
    ball: Ball,
    starts: Tensor,
    base: float,
    *,
    steps: int,
    rows_per_call: int = 1,
    resume: AscentState | None = None,
) -> Iterator[AscentState]:
    """States after each round, in which every ascent that is not done evaluates one point, `steps` rounds at most.

    `starts (S, P)` lie in the ball and become the state's own; `rows_per_call` rows share an evaluation. `base` is the
    value at the centre: gains are relative to the rise above it. A value that is not finite ends its ascent and stays.
    """
    state = resume or _begin(starts)
    while state.rounds < steps and not state.done.all():
        live = np.flatnonzero(~state.done)
        for first in range(0, len(live), rows_per_call):
            chosen = live[first : first + rows_per_call]
            alone = len(chosen) == 1  # and is not copied
            trials = _trial(state, ball, chosen[0])[None] if alone else _trials(state, ball, chosen)
            values, slopes = evaluate(trials)
            for row, trial, value, slope in zip(chosen, trials, values, slopes, strict=True):
                _judge(state, ball, row, trial, float(value), slope, base)
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
    """The point that is evaluated next: the start itself in the first round."""
    point = torch.add(state.points[row], state.directions[row], alpha=float(state.lengths[row]))
    if state.natural[row]:
        point *= ball.rho / float(ball.size(point))
    return point


def _judge(state: AscentState, ball: Ball, row: int, trial: Tensor, value: float, slope: Tensor, base: float) -> None:
    """Takes the trial if it climbs, or shortens the step."""
    earlier = state.values[row]
    if not np.isfinite(value):
        state.values[row], state.done[row] = value, True
    elif np.isnan(earlier):
        _accept(state, ball, row, trial, value, slope)
    elif value > earlier:
        gain = (value - earlier) / max(abs(value - base), np.finfo(float).tiny)
        _accept(state, ball, row, trial, value, slope)
        state.quiet[row] = state.quiet[row] + 1 if gain < SMALL_GAIN else 0
        state.done[row] |= state.quiet[row] == ENOUGH
    else:
        expected = state.climbs[row] * state.lengths[row]
        lost = expected - (value - earlier)  # what the slope promised and the trial did not give
        state.lengths[row] *= float(np.clip(expected / (2 * lost) if lost > 0 else SHORTER[1], *SHORTER))
        state.tries[row] += 1
        state.done[row] |= state.tries[row] == TRIES


def _accept(state: AscentState, ball: Ball, row: int, trial: Tensor, value: float, slope: Tensor) -> None:
    """Makes the trial the ascent's point, and chooses the next direction and its length."""
    dual = float(ball.dual(slope))
    outward = float(torch.sum(slope.double() * trial))
    state.stationarity[row] = max(0.0, 1 - outward / (ball.rho * dual)) if dual > 0 else 0.0
    if ball.on_sphere(trial) and outward > 0:
        tangent = torch.sub(slope, trial, alpha=outward / ball.rho**2)
        natural = ball.rho**2 / outward
        length = natural
        if state.natural[row]:
            shortest, longest = (bound * natural for bound in LENGTHS)
            length = min(max(_barzilai_borwein(state, row, tangent), shortest), longest)
    else:
        tangent, natural, length = ball.farthest(slope) - trial, 0.0, 1.0
    state.points[row], state.directions[row] = trial, tangent
    state.values[row], state.tries[row] = value, 0
    state.natural[row], state.lengths[row] = natural, length
    state.climbs[row] = float(torch.sum(slope.double() * tangent))
    state.done[row] |= not state.climbs[row] > 0


def _barzilai_borwein(state: AscentState, row: int, tangent: Tensor) -> float:
    """s's / s'y for the step s = length r taken and the change y of the tangent slope."""
    before = state.directions[row].double()
    squared = float(before @ before)
    fallen = squared - float(before @ tangent.double())
    length = float(state.lengths[row])
    return length * squared / fallen if fallen > 0 else GROWTH * length
