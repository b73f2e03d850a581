"""The numbers that finished chains tell: the coefficient with its errors, and whether the chains agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.algorithms.sampling.burn_in import burn_in
from landscape.algorithms.sampling.control_variate import ControlVariate
from landscape.algorithms.sampling.convergence import effective_draws, r_hat, standard_error
from landscape.algorithms.sampling.influence import resampling_error
from landscape.algorithms.sampling.langevin import step_bias
from landscape.analyses.llc.history import ChainHistory

RUNNING_POINTS = 40  # of the curve of running estimates
FEWEST_RUNNING = 16  # draws of a chain behind the burn-in at the first of them
# Of the variance, behind the control variate. With a tenth to a third left, in reduced-rank regression, 86 % of the
# intervals held the exact value, and 95 % of those around plain means.
MOST_LEFT = 0.01


@dataclass(frozen=True)
class ChainEstimate:
    """What the draws of one group of parameters tell, without those of the burn-in."""

    burn_in: int
    llc: float
    error: float
    effective: float
    fewest_effective: float  # of losses and distances
    r_hat: float
    distance_r_hat: float
    work_deviation: float  # of the mean of x'grad U from the dimension, in standard errors
    gamma_effect: float  # -d llc / d log gamma
    gamma_error: float
    step_bias: float | None  # that was subtracted
    acceptance: float
    controlled: np.ndarray  # (K, n), all draws, less the control variate or the step's bias


def estimate(history: ChainHistory, gamma: float, size: int, *, corrected: bool = True) -> ChainEstimate:
    """The numbers of chains on `size` parameters; of chains that were not `corrected` less the bias of their steps.

    With the correction the mean of x'grad U is the number of parameters, whatever the loss is (integration by parts).
    Its deviation from it is therefore a control variate: for a quadratic loss and for w^2k with little gamma nothing
    random is left. Where more is left, it is what moves slowly: its error looks smaller than it is, and the plain mean
    is taken.
    """
    excess, distance, work = history.excess.T, history.distance.T, history.work.T - size
    cut = max(burn_in(excess), burn_in(distance))
    kept = np.s_[:, cut:]
    bias = step_bias(history.chains.log_step, history.squared_gradient.T)
    effective, of_distance = effective_draws(excess[kept]), effective_draws(distance[kept])
    controlled = excess if corrected else excess - bias
    control = ControlVariate.fit(excess[kept], work[kept])
    if corrected and control.share_left <= MOST_LEFT:
        controlled = control.apply(excess, work)
        error = control.error(controlled[kept], min(effective, of_distance))
    else:
        error = standard_error(controlled[kept])
    deviations = [part[kept] - part[kept].mean(axis=1, keepdims=True) for part in (excess, distance)]
    products = gamma / 2 * deviations[0] * deviations[1]
    return ChainEstimate(
        burn_in=cut,
        llc=float(controlled[kept].mean()),
        error=error,
        effective=effective,
        fewest_effective=min(effective, of_distance),
        r_hat=r_hat(excess[kept]),
        distance_r_hat=r_hat(distance[kept]),
        work_deviation=_deviation(work[kept]),
        gamma_effect=float(products.mean()),
        gamma_error=standard_error(products),
        step_bias=None if corrected else float(bias[kept].mean()),
        acceptance=float(history.acceptance[cut:].mean()),
        controlled=controlled,
    )


def running_estimates(found: ChainEstimate) -> dict[str, Any]:
    """The estimate and its standard error by the number of draws: fields `running_*` of the result."""
    length = found.controlled.shape[1]
    first = min(found.burn_in + FEWEST_RUNNING, length)
    ends = np.unique(np.linspace(first, length, RUNNING_POINTS).round().astype(int))
    parts = [found.controlled[:, found.burn_in : end] for end in ends]
    return {
        "running_draws": ends,
        "running_llc": np.array([part.mean() for part in parts]),
        "running_se": np.array([standard_error(part) for part in parts]),
    }


def data_error(history: ChainHistory, found: ChainEstimate) -> float | None:
    """The standard error over the choice of samples; None where the rises of samples were not recorded."""
    if not history.sample_rises.shape[1]:
        return None
    draw, chain = history.sample_draws.T
    kept = draw >= found.burn_in
    second = chain[kept] >= history.excess.shape[1] // 2
    return resampling_error(history.sample_rises[kept].astype(np.float64), second)


def _deviation(values: np.ndarray) -> float:
    """The mean of chains `(K, n)` in standard errors; NaN for constant chains."""
    error = standard_error(values)
    return float(values.mean()) / error if error else float("nan")
