"""The phase of the average case: mean rises of the loss under random noise on the weights."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.analyses.base import Progress, State
from landscape.analyses.shared.phases import phase_state, prefix_state
from landscape.errors import NumericalError, TaskError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.algorithms.estimators.averaging import ControlledMean
    from landscape.algorithms.estimators.control import ControlVariate
    from landscape.choices import Noise
    from landscape.objective import Objective

TOGETHER = 4  # pairs between two reports
CONTROL_PRODUCTS = 16  # 8 left 0.10 to 0.85 of the variance on three nets, 16 left 0.05 to 0.75, 24 hardly less
LAW_PROBES = 8  # for the part of the trace that the control does not hold
VARIANCE = {"gaussian": 1.0, "uniform": 1 / 3}  # of noise whose rho is 1


@dataclass(frozen=True)
class NoiseSampling:
    """What is drawn: noise of these sizes, so many pairs, or until all intervals are as narrow as `rtol`."""

    radii: tuple[float, ...]
    noise: Noise
    pairs: int
    rtol: float | None
    most: int
    seed: int


@dataclass(frozen=True)
class NoiseRises:
    """n antithetic pairs at R radii, with what a quadratic model says of each."""

    rises: np.ndarray  # (n, R), the mean of both losses of a pair less the loss at the centre
    controls: np.ndarray  # (n,), a control variate of mean 0; zeros without second derivatives
    trace: np.ndarray  # (2,), of C H C with its standard error; NaN without second derivatives

    def arrays(self) -> State:
        return {"rises": self.rises, "controls": self.controls, "trace": self.trace}

    def mean(self) -> ControlledMean:
        """The mean rises, with their errors."""
        from landscape.algorithms.estimators import averaging

        return averaging.controlled_mean(self.rises, self.controls)


def sample_rises(
    objective: Objective, scale: Tensor, base: float, plan: NoiseSampling, resume: State
) -> Generator[Progress, None, NoiseRises]:
    """Yields after each product and after each few pairs.

    The draws z are the same for every radius and, with their size, for every checkpoint. The control variate is not
    part of a snapshot once it is there: it is as large as many draws, and found again.
    """
    import numpy as np

    control = yield from _control(objective, scale, plan, resume)
    if "rises" in resume:
        known = NoiseRises(**{name: np.array(resume[name]) for name in ("rises", "controls", "trace")})
    else:
        trace = yield from _trace(objective, scale, control, plan, resume)
        known = NoiseRises(np.zeros((0, len(plan.radii))), np.zeros(0), trace)
    while not _finished(known, plan):
        count = min(TOGETHER, _total(plan) - len(known.rises))
        chosen = range(len(known.rises), len(known.rises) + count)
        fresh = _pairs(objective, scale, plan, chosen) - base
        told = [control.deviation(_unit_noise(scale, plan, draw)) if control else 0.0 for draw in chosen]
        known = NoiseRises(np.concatenate([known.rises, fresh]), np.concatenate([known.controls, told]), known.trace)
        done, found = len(known.rises), known.mean()
        with np.errstate(divide="ignore", invalid="ignore"):
            half = found.half_width / np.abs(found.value)
        note = f"{done} pairs, half-width {100 * half.max():.2g} % of s_avg"
        yield Progress(min(done, _total(plan)), _total(plan), note, lambda now=known: now.arrays())  # type: ignore[misc]
    return known


def _finished(known: NoiseRises, plan: NoiseSampling) -> bool:
    from landscape.algorithms.estimators.averaging import MIN_DRAWS

    done = len(known.rises)
    if plan.rtol is None:
        return done >= plan.pairs
    return done >= plan.most or (done >= max(MIN_DRAWS, plan.pairs) and known.mean().within(plan.rtol))


def draw_noise(like: Tensor, plan: NoiseSampling, draw: int) -> Tensor:
    """Noise z `(P,)` of rho = 1: standard normal, or uniform on (-1, 1) as a function of the same numbers."""
    import torch

    from landscape import seeds

    z = seeds.normal(len(like), like, plan.seed, "average", draw)
    noise: Tensor = z if plan.noise == "gaussian" else torch.erf(z / 2**0.5)
    return noise


def _pairs(objective: Objective, scale: Tensor, plan: NoiseSampling, draws: range) -> np.ndarray:
    """The mean loss of each pair at each radius, `(n, R)`."""
    import torch

    from landscape.evaluation import points

    wanted = [(draw, sign * radius) for draw in draws for radius in plan.radii for sign in (1, -1)]
    width = points.points_per_pass(objective, len(wanted))
    losses = []
    for first in range(0, len(wanted), width):
        chunk = wanted[first : first + width]
        moves = {draw: scale * draw_noise(scale, plan, draw) for draw, _ in chunk}
        thetas = torch.stack([torch.add(objective.theta, moves[draw], alpha=size) for draw, size in chunk])
        losses.append(points.values(objective, thetas.T))
    pairs: np.ndarray = torch.cat(losses).view(len(draws), len(plan.radii), 2).mean(dim=2).cpu().numpy()
    return pairs


def _unit_noise(like: Tensor, plan: NoiseSampling, draw: int) -> Tensor:
    """The noise of a draw at variance 1."""
    return draw_noise(like, plan, draw) / float(VARIANCE[plan.noise] ** 0.5)


def _control(
    objective: Objective, scale: Tensor, plan: NoiseSampling, resume: State
) -> Generator[Progress, None, ControlVariate | None]:
    """The quadratic form on the leading eigenvectors; None if the model has no second derivative."""
    from landscape.algorithms.estimators import control
    from landscape.algorithms.lanczos.state import LanczosState
    from landscape.operators import HessianOperator, ScaledOperator

    operator = ScaledOperator(HessianOperator(objective), scale)
    saved = phase_state("control", resume)
    state = earlier = LanczosState.from_arrays(saved, operator.like) if saved else None
    again = bool(resume) and not saved  # it was there already
    try:
        for state in control.krylov_space(operator, CONTROL_PRODUCTS, plan.seed, earlier):
            note = f"control variate, {state.products} of {CONTROL_PRODUCTS} products"
            if not again:
                yield Progress(0, _total(plan), note, lambda now=state: prefix_state("control", now.arrays()))  # type: ignore[misc]
    except (TaskError, NumericalError) as error:
        objective.notes.append(f"s_avg has no control variate and no small-rho law: {error.what}")
        return None
    assert state is not None  # CONTROL_PRODUCTS >= 1
    return control.control_variate(state)


def _trace(
    objective: Objective, scale: Tensor, control: ControlVariate | None, plan: NoiseSampling, resume: State
) -> Generator[Progress, None, np.ndarray]:
    """The trace of C H C: that of the control, and the mean of what it lacks over a few of the draws."""
    import numpy as np
    import torch

    from landscape.operators import HessianOperator, ScaledOperator

    if control is None:
        return np.full(2, np.nan)
    operator = ScaledOperator(HessianOperator(objective), scale)
    traces = [float(value) for value in resume.get("traces", ())]
    for draw in range(len(traces), LAW_PROBES):  # one at a time: a block of them would be the most that is held
        z = _unit_noise(scale, plan, draw)
        traces.append(float(torch.sum((operator @ z) * z, dtype=torch.float64)) - control.deviation(z))
        known = np.array(traces)
        note = f"trace of the curvature, {len(traces)} of {LAW_PROBES} products"
        yield Progress(0, _total(plan), note, lambda known=known: {"traces": known})  # type: ignore[misc]
    return np.array([np.mean(traces), np.std(traces, ddof=1) / LAW_PROBES**0.5])


def _total(plan: NoiseSampling) -> int:
    """Pairs at most."""
    return plan.pairs if plan.rtol is None else plan.most
