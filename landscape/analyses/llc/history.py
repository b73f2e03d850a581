"""The chains of one group of parameters: the adaptation of the step size, and the history of their draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from landscape.algorithms.sampling.chains import Chains, begin_chains, column_sums
from landscape.algorithms.sampling.hamiltonian import adapt, metropolis_step
from landscape.algorithms.sampling.langevin import langevin_step, step_bias
from landscape.algorithms.snapshots import nested, restore, snapshot
from landscape.analyses.base import Progress, State
from landscape.analyses.llc.posterior import LocalPosterior, find_starts
from landscape.analyses.shared.expected_steps import expected_steps

ADAPTATION_STEPS = 80  # that choose the step size: its logarithm scatters by .1 or less over the second half
REPORTED_STEPS = 5  # between two moments at which a run can be interrupted
PLAIN_BIAS = 0.05  # of the mean of Phi, by steps without the correction: it is subtracted, and the rest is smaller
FIRST_LOOK = 100  # draws of each chain after which it is first known whether they are enough: fewer miss tails
SAMPLE_EVERY = 2  # draws of all chains between two passes for the losses of samples: a hundredth of the work


@dataclass(frozen=True)
class Sampling:
    """How many chains and draws, the samples of a batch (0 for all data at every step), and when to stop before."""

    chains: int
    draws: int
    batch: int
    rtol: float
    seed: int

    @property
    def total(self) -> int:
        """Steps of every chain at most."""
        return ADAPTATION_STEPS + self.draws


@dataclass(frozen=True)
class ChainHistory:
    """The chains now, and what they were at every step after the adaptation: arrays `(draws, K)`.

    `sample_rises` `(m, N)` are n beta times each sample's part in L - L(theta), at the draws and chains that the rows
    `(m, 2)` of `sample_draws` name; without columns if the loss has no parts by sample.
    """

    chains: Chains = field(metadata=nested(Chains))
    excess: np.ndarray  # n beta (L - L(theta))
    work: np.ndarray  # x'grad U
    distance: np.ndarray  # |x|^2
    squared_gradient: np.ndarray  # |grad Phi|^2
    acceptance: np.ndarray
    sample_rises: np.ndarray
    sample_draws: np.ndarray
    start_losses: int  # evaluated to find the starts
    adaptation: int = 0  # gradients of each chain in it
    broken: int = 0  # proposals at which the loss was not finite
    stopped: bool = False

    @property
    def draws(self) -> int:
        """Draws of each chain so far."""
        return len(self.excess)

    def first_half(self) -> ChainHistory:
        """The history up to the half of its draws."""
        half = self.draws // 2
        names = ("excess", "work", "distance", "squared_gradient", "acceptance")
        cut: dict[str, Any] = {name: getattr(self, name)[:half] for name in names}
        return replace(self, **cut)


def sample_chains(
    posterior: LocalPosterior,
    exact: LocalPosterior,
    sampling: Sampling,
    is_enough: Callable[[ChainHistory], bool],
    saved: State,
) -> Generator[Progress, None, ChainHistory]:
    """Adapts the step size on `exact`, then draws from `posterior`; yields after every few steps.

    The adaptation takes all data, since it needs the Metropolis correction. Without that correction the chains go on
    with a step that is no longer, and short enough for a small bias. Whether there are enough draws is asked whenever
    100 of them have doubled, and the chains end where there were enough before: those that end as soon as their error
    seems small are those that have missed a tail.
    """
    history = restore(ChainHistory, saved, exact.objective.theta) if saved else _at_starts(exact, sampling)
    while history.draws < sampling.draws and not history.stopped:
        if history.chains.steps < ADAPTATION_STEPS:
            history = _adapt(history, exact, sampling)
        else:
            history = _draw(history, posterior, exact, sampling)
            moment = _is_moment(history.draws) and history.draws > FIRST_LOOK
            history = replace(history, stopped=moment and is_enough(history) and is_enough(history.first_half()))
        ends = history.stopped or history.draws == sampling.draws
        if history.chains.steps % REPORTED_STEPS == 0 or ends:
            yield _progress(history, sampling, exact.group.name)
    return history


def _is_moment(draws: int) -> bool:
    """Whether the number of draws is 100 times a power of two."""
    times, rest = divmod(draws, FIRST_LOOK)
    return not rest and times & (times - 1) == 0


def _at_starts(exact: LocalPosterior, sampling: Sampling) -> ChainHistory:
    """No draws yet; the first guess of the step fits a curvature of n beta + gamma."""
    found = find_starts(exact, sampling.chains, sampling.seed)
    log_step = -math.log(exact.temper.nbeta + exact.temper.gamma) / 2
    none, samples = np.zeros((0, sampling.chains)), exact.samples_with_losses
    return ChainHistory(
        begin_chains(exact, found.positions, exact.temper.gamma, log_step),
        none,
        none,
        none,
        none,
        none,
        np.zeros((0, samples), np.float32),
        np.zeros((0, 2), np.int64),
        found.losses,
    )


def _adapt(history: ChainHistory, exact: LocalPosterior, sampling: Sampling) -> ChainHistory:
    """One step of the adaptation, which leaves no draw."""
    chains, moves = metropolis_step(exact, history.chains, sampling.seed, exact.group.name)
    chains = adapt(chains, float(moves.acceptance.mean()), ADAPTATION_STEPS)
    broken = history.broken + int((~moves.finite).sum())
    return replace(history, chains=chains, broken=broken, adaptation=chains.evaluations)


def _draw(history: ChainHistory, posterior: LocalPosterior, exact: LocalPosterior, sampling: Sampling) -> ChainHistory:
    """The history with one more draw of every chain."""
    chains, name = history.chains, exact.group.name
    if posterior is exact:
        chains, moves = metropolis_step(exact, chains, sampling.seed, name)
    else:
        if not history.draws:
            chains = _without_correction(chains, posterior)
        chains, moves = langevin_step(posterior, chains, sampling.seed, name)
    rows = {
        "excess": chains.value,
        "work": chains.work,
        "distance": column_sums(chains.positions**2),
        "squared_gradient": chains.squared_gradient,
        "acceptance": moves.acceptance,
    }
    arrays: dict[str, Any] = {key: np.vstack([getattr(history, key), row]) for key, row in rows.items()}
    drawn = replace(history, chains=chains, broken=history.broken + int((~moves.finite).sum()), **arrays)
    return drawn if history.draws % SAMPLE_EVERY else _with_samples(drawn, exact)


def _without_correction(chains: Chains, posterior: LocalPosterior) -> Chains:
    """The chains with gradients of batches, and with Langevin steps whose bias is a small share of Phi."""
    longest = 2 * chains.log_step  # a step of the motion of size t is a Langevin step of size t^2
    at = begin_chains(posterior, chains.positions, chains.gamma, longest)
    share = step_bias(longest, at.squared_gradient).mean() / abs(chains.value.mean())
    return replace(at, log_step=longest - max(0.0, math.log(share / PLAIN_BIAS)), steps=chains.steps)


def _with_samples(history: ChainHistory, exact: LocalPosterior) -> ChainHistory:
    """The history with the rises of all samples at the last draw of one chain, each chain in turn."""
    if not exact.samples_with_losses:
        return history
    chain = len(history.sample_draws) % history.excess.shape[1]
    rises = exact.sample_rises(history.chains.positions[:, chain]).astype(np.float32)
    return replace(
        history,
        sample_rises=np.vstack([history.sample_rises, rises]),
        sample_draws=np.vstack([history.sample_draws, [history.draws - 1, chain]]),
    )


def _progress(history: ChainHistory, sampling: Sampling, name: str) -> Progress:
    chains = history.chains
    if not history.draws:
        note = f"{name}: step size {math.exp(chains.log_step):.2g}"
    else:
        note = f"{name}: {history.draws} draws, n beta (L - L*) {history.excess[-1].mean():.4g}"
    total = expected_steps(chains.steps, ADAPTATION_STEPS + FIRST_LOOK, sampling.total)
    return Progress(chains.steps, total, note, partial(snapshot, history))
