"""The average case: mean rises of the loss under random noise on the weights."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape import seeds
from landscape.algorithms.estimators import averaging, control
from landscape.algorithms.estimators.averaging import MIN_DRAWS, ControlledMean
from landscape.algorithms.estimators.control import ControlVariate
from landscape.algorithms.lanczos.state import LanczosState
from landscape.algorithms.snapshots import RECOMPUTED, restore, snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.choices import Noise
from landscape.compute.budget import is_large
from landscape.compute.inner_products import dot
from landscape.errors import NumericalError, TaskError
from landscape.evaluation import points
from landscape.objective import Objective
from landscape.operators import HessianOperator, ScaledOperator

PAIRS_PER_REPORT = 4
FOLLOWING_PAIRS = MIN_DRAWS  # at each radius of a curve: the fewest of which a control variate removes its part
CONTROL_PRODUCTS = 16  # 8 left 0.10 to 0.85 of the variance on three nets, 16 left 0.05 to 0.75, 24 hardly less
TRACE_PROBES = 8  # for the part of the trace that the control does not hold
NOISE_VARIANCE = {"gaussian": 1.0, "uniform": 1 / 3}  # of noise whose rho is 1


@dataclass(frozen=True)
class NoiseSampling:
    """The noise, its sizes, and the antithetic pairs to draw: `pairs`, or with `rtol` until intervals are narrow."""

    radii: tuple[float, ...]
    noise: Noise
    pairs: int
    rtol: float | None
    max_pairs: int
    seed: int

    @property
    def total(self) -> int:
        """Pairs at most."""
        return self.pairs if self.rtol is None else self.max_pairs


@dataclass(frozen=True)
class NoiseRises:
    """Rises under n antithetic pairs at R radii, with the rises that a quadratic model predicts."""

    rises: np.ndarray  # (n, R), mean of both losses of a pair minus the loss at the center
    controls: np.ndarray  # (n,), a control variate of mean 0; zeros without second derivatives
    trace: np.ndarray  # (2,), of C H C with its standard error; NaN without second derivatives
    # why there is no control variate; "" if there is one. A resumed run finds out again
    control_error: str = field(default="", metadata=RECOMPUTED)
    products: int = field(default=0, metadata=RECOMPUTED)  # of the control variate and the trace; again as well

    @property
    def losses(self) -> int:
        """The losses that were evaluated: two for each pair and radius."""
        return 2 * self.rises.size

    def mean(self) -> ControlledMean:
        """The mean rises with their errors."""
        return averaging.controlled_mean(self.rises, self.controls)


def sample_rises(
    objective: Objective, scales: Tensor, base: float, sampling: NoiseSampling, resume: State
) -> Generator[Progress, None, NoiseRises]:
    """Draws noise until the sampling is complete; yields after each product and after every few pairs.

    `scales (P,)` are c, and `base` is the loss at the center. The draws are the same for every radius and, up to their
    size, for every checkpoint. A finished control variate is not part of snapshots, since it takes as much memory as 16
    draws: a resumed run computes it again.
    """
    variate, error, products = yield from _control_variate(objective, scales, sampling, resume)
    products += TRACE_PROBES if variate else 0
    if "rises" in resume:
        sampled = restore(NoiseRises, resume, objective.theta, control_error=error, products=products)
    else:
        trace = yield from _trace(objective, scales, variate, sampling, resume)
        sampled = NoiseRises(np.zeros((0, len(sampling.radii))), np.zeros(0), trace, error, products)
    while not _is_complete(sampled, sampling):
        count = min(PAIRS_PER_REPORT, sampling.total - len(sampled.rises))
        draws = range(len(sampled.rises), len(sampled.rises) + count)
        rises = _pair_losses(objective, scales, sampling, draws) - base
        controls = [variate.deviation(_unit_noise(scales, sampling, draw)) if variate else 0.0 for draw in draws]
        sampled = replace(
            sampled, rises=np.concatenate([sampled.rises, rises]), controls=np.concatenate([sampled.controls, controls])
        )
        yield _progress(sampled, sampling)
    return sampled


def follow_rises(
    objective: Objective,
    scales: Tensor,
    base: float,
    sampling: NoiseSampling,
    radii: tuple[float, ...],
    average: NoiseRises,
    resume: State,
) -> Generator[Progress, None, NoiseRises]:
    """The rises at further radii under the first few of the draws of `average`, whose control variate they share.

    Yields after every few pairs.
    """
    count = min(FOLLOWING_PAIRS, len(average.rises))
    sampling = replace(sampling, radii=radii, pairs=count, rtol=None)
    begin = NoiseRises(np.zeros((0, len(radii))), np.zeros(0), average.trace)
    sampled = restore(NoiseRises, resume, objective.theta, control_error="") if resume else begin
    while len(sampled.rises) < count:
        first = len(sampled.rises)
        draws = range(first, min(first + PAIRS_PER_REPORT, count))
        rises = _pair_losses(objective, scales, sampling, draws) - base
        controls = average.controls[: draws.stop]
        sampled = replace(sampled, rises=np.concatenate([sampled.rises, rises]), controls=controls)
        yield _progress(sampled, sampling)
    return sampled


def draw_noise(like: Tensor, sampling: NoiseSampling, draw: int) -> Tensor:
    """Noise z `(P,)` of rho = 1: standard normal, or uniform on (-1, 1) as a function of the same numbers."""
    z = seeds.normal(len(like), like, sampling.seed, "average", draw)
    noise: Tensor = z if sampling.noise == "gaussian" else torch.erf(z / 2**0.5)
    return noise


def _is_complete(sampled: NoiseRises, sampling: NoiseSampling) -> bool:
    done = len(sampled.rises)
    if sampling.rtol is None or done >= sampling.max_pairs:
        return done >= sampling.total
    return done >= max(MIN_DRAWS, sampling.pairs) and sampled.mean().within(sampling.rtol)


def _progress(sampled: NoiseRises, sampling: NoiseSampling) -> Progress:
    done, mean = len(sampled.rises), sampled.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        half = mean.half_width / np.abs(mean.value)
    note = f"{done} pairs, half-width {100 * half.max():.2g} % of s_avg"
    return Progress(min(done, sampling.total), sampling.total, note, partial(snapshot, sampled))


def _pair_losses(objective: Objective, scales: Tensor, sampling: NoiseSampling, draws: range) -> np.ndarray:
    """The mean of both losses of each pair at each radius, `(n, R)`."""
    wanted = [(draw, sign * radius) for draw in draws for radius in sampling.radii for sign in (1, -1)]
    width = points.points_per_pass(objective, len(wanted))
    losses = []
    for first in range(0, len(wanted), width):
        chunk = wanted[first : first + width]
        moves = {draw: draw_noise(scales, sampling, draw).mul_(scales) for draw, _ in chunk}
        rows = [torch.add(objective.theta, moves[draw], alpha=size) for draw, size in chunk]
        del moves
        losses.append(points.values(objective, (torch.stack(rows) if len(rows) > 1 else rows[0][None]).T))
        del rows
    pairs: np.ndarray = torch.cat(losses).view(len(draws), len(sampling.radii), 2).mean(dim=2).cpu().numpy()
    return pairs


def _unit_noise(like: Tensor, sampling: NoiseSampling, draw: int) -> Tensor:
    """The noise of a draw, divided by its standard deviation."""
    return draw_noise(like, sampling, draw) / float(NOISE_VARIANCE[sampling.noise] ** 0.5)


def _control_variate(
    objective: Objective, scales: Tensor, sampling: NoiseSampling, resume: State
) -> Generator[Progress, None, tuple[ControlVariate | None, str, int]]:
    """The quadratic form on a Krylov space, and its products; None, with the reason, without second derivatives.

    Of large models it is that on no space at all: 16 vectors would take all the memory, and more draws take none.
    """
    if is_large(len(scales)):
        return ControlVariate(scales.new_zeros((0, len(scales))), torch.zeros((0, 0), dtype=torch.float64)), "", 0
    operator = ScaledOperator(HessianOperator(objective), scales)
    saved = phase_state("control", resume)
    state = earlier = restore(LanczosState, saved, operator.like) if saved else None
    repeated = bool(resume) and not saved  # the resumed run had finished it, and reported its products
    try:
        for state in control.krylov_space(operator, CONTROL_PRODUCTS, sampling.seed, earlier):
            note = f"control variate, {state.products} of {CONTROL_PRODUCTS} products"
            if not repeated:
                yield Progress(0, sampling.total, note, lambda now=state: prefix_state("control", snapshot(now)))  # type: ignore[misc]
    except (TaskError, NumericalError) as error:
        return None, error.what, 0
    assert state is not None  # CONTROL_PRODUCTS >= 1
    return control.control_variate(state), "", state.products


def _trace(
    objective: Objective, scales: Tensor, variate: ControlVariate | None, sampling: NoiseSampling, resume: State
) -> Generator[Progress, None, np.ndarray]:
    """The trace of C H C: that of the control variate, plus the rest, averaged over a few of the draws."""
    if variate is None:
        return np.full(2, np.nan)
    operator = HessianOperator(objective)
    traces = [float(value) for value in resume.get("traces", ())]
    for draw in range(len(traces), TRACE_PROBES):  # one by one: a block would set the peak of the memory
        move = _unit_noise(scales, sampling, draw)
        inside = variate.deviation(move)
        move.mul_(scales)
        traces.append(dot(operator @ move, move) - inside)
        del move
        finished = np.array(traces)
        note = f"trace of the curvature, {len(traces)} of {TRACE_PROBES} products"
        yield Progress(0, sampling.total, note, lambda finished=finished: {"traces": finished})  # type: ignore[misc]
    return np.array([np.mean(traces), np.std(traces, ddof=1) / TRACE_PROBES**0.5])
