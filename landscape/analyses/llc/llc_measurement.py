"""Measures the local learning coefficient: chains on all parameters, then on each group of them alone."""

from __future__ import annotations

import math
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.algorithms.sampling.hamiltonian import leap_count
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.llc.estimates import ChainEstimate, data_error, estimate, running_estimates
from landscape.analyses.llc.history import ADAPTATION_STEPS, ChainHistory, Sampling, sample_chains
from landscape.analyses.llc.llc import LARGEST_R_HAT, LlcResult
from landscape.analyses.llc.posterior import (
    BatchPosterior,
    LocalPosterior,
    Temper,
    default_gamma,
    default_nbeta,
)
from landscape.analyses.shared.per_layer import layer_table
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.products import count_gradients
from landscape.analyses.shared.rounding import ROUNDING_DRAWS, smallest_clear_rise
from landscape.choices import NORMAL_HALF_WIDTH
from landscape.errors import UsageError
from landscape.objective.micro_batch import seconds_per_gradient

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.analyses.llc.llc import Llc
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

# Effective ones, of losses and of distances, in the first half of the draws already: in all of them as many as Vehtari
# et al. 2021 want. With fewer, chains that had missed a tail so far were taken for settled: their correlations seem
# short, and their errors small.
ENOUGH_DRAWS = 200.0
VECTORS = 7  # of P numbers for each chain: positions and gradients before and after a step, velocity, and points
CHAINS = "chains"  # of phases: the name of each, with a number
EXPECTED_DRAWS, EXPECTED_LEAPS = 100, 8  # of each chain, and of each draw, on the samples' nets


def measure(analysis: Llc, objective: Objective, resume: State | None) -> Generator[Progress, None, LlcResult]:
    """Yields after every few steps of all chains; returns the coefficient with its errors."""
    reference, temper = objective.reference, _temper(analysis, objective)
    sampling = _sampling(analysis, objective)
    groups, phases = analysis.groups(objective), Phases(resume)
    found: list[tuple[ChainHistory, ChainEstimate]] = []
    for group in (objective.space.whole_group(), *groups):
        exact = LocalPosterior(objective, temper, group, reference.loss)
        posterior = _batch_posterior(exact, sampling) if sampling.batch else exact
        is_enough = partial(_is_enough, temper=temper, size=group.size, sampling=sampling)
        name = f"{CHAINS} {len(found)}"  # of phases: groups may be called alike
        steps = partial(sample_chains, posterior, exact, sampling, is_enough)
        history = yield from phases.run(name, steps, independent=True)
        found.append((history, _estimate(history, temper, group.size, sampling)))
    whole, numbers = found[0]
    return LlcResult(
        **_whole_fields(whole, numbers),
        **_chain_fields(whole, numbers),
        **_layer_fields(groups, found[1:]),
        **running_estimates(numbers),
        rtol=analysis.rtol,
        data_standard_error=data_error(whole, numbers),
        nbeta=temper.nbeta,
        gamma=temper.gamma,
        cost_gradients=_cost(objective, sampling, [history for history, _ in found]),
        rounding=_rounding(analysis, objective, temper),
        loss=reference.loss,
        gradient_norm=reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
    )


def plan(analysis: Llc, objective: Objective) -> Plan:
    """Bytes of the chains, and the seconds of as many steps as they usually take, at most all of them."""
    sampling, groups = _sampling(analysis, objective), 1 + len(analysis.groups(objective))
    draws = min(EXPECTED_DRAWS, sampling.draws)
    share = 2 * sampling.batch / objective.batches.samples if sampling.batch else EXPECTED_LEAPS
    gradients = groups * sampling.chains * (ADAPTATION_STEPS * EXPECTED_LEAPS + draws * share)
    memory = {"chains": VECTORS * sampling.chains * objective.theta.nbytes}
    facts = {
        "draws": f"{draws:,} of each of {sampling.chains} chains expected, at most {sampling.draws:,}",
        "gradients": f"about {gradients:,.0f}",
    }
    seconds = gradients * seconds_per_gradient(objective)
    phases = {f"{CHAINS} {number}": seconds / groups for number in range(groups)}
    return Plan(sum(memory.values()), 0, seconds, facts, memory, phases)


def _rounding(analysis: Llc, objective: Objective, temper: Temper) -> float:
    """The largest Phi near the checkpoint that may be rounding."""

    def loss(theta: Tensor) -> float:
        return float(objective.value(theta))

    return temper.nbeta * smallest_clear_rise(objective, loss, objective.reference.loss, analysis.seed)


def _temper(analysis: Llc, objective: Objective) -> Temper:
    """n beta and gamma as given, or by their rules."""
    nbeta = default_nbeta(objective) if analysis.nbeta is None else analysis.nbeta
    return Temper(nbeta, default_gamma(objective.theta) if analysis.gamma is None else analysis.gamma)


def _sampling(analysis: Llc, objective: Objective) -> Sampling:
    """The chains; raises UsageError for a batch of more samples than there are."""
    if analysis.batch > objective.batches.samples:
        raise UsageError(
            f"--batch {analysis.batch} of {objective.batches.samples} samples", fix="leave --batch out: all data"
        )
    return Sampling(analysis.chains, analysis.draws, analysis.batch, analysis.rtol, analysis.seed)


def _batch_posterior(exact: LocalPosterior, sampling: Sampling) -> LocalPosterior:
    parts = (exact.objective, exact.temper, exact.group, exact.base)
    return BatchPosterior(*parts, samples=sampling.batch, seed=sampling.seed)


def _is_enough(history: ChainHistory, temper: Temper, size: int, sampling: Sampling) -> bool:
    """Whether the chains agree, and the error is as small as asked for and known."""
    found = _estimate(history, temper, size, sampling)
    sure = max(found.r_hat, found.distance_r_hat) <= LARGEST_R_HAT and found.fewest_effective >= ENOUGH_DRAWS
    return sure and found.error <= sampling.rtol * abs(found.llc)


def _estimate(history: ChainHistory, temper: Temper, size: int, sampling: Sampling) -> ChainEstimate:
    return estimate(history, temper.gamma, size, corrected=not sampling.batch)


def _whole_fields(history: ChainHistory, found: ChainEstimate) -> dict[str, Any]:
    """The scalars about the chains on all parameters."""
    half = NORMAL_HALF_WIDTH * found.error
    return {
        "llc": found.llc,
        "llc_se": found.error,
        "lower": found.llc - half,
        "upper": found.llc + half + (found.step_bias or 0.0),
        "step_bias": found.step_bias,
        "r_hat": found.r_hat,
        "distance_r_hat": found.distance_r_hat,
        "effective_draws": found.effective,
        "burn_in": found.burn_in,
        "draws": history.draws,
        "acceptance": found.acceptance,
        "step_size": math.exp(history.chains.log_step),
        "leaps": leap_count(history.chains) if found.step_bias is None else 1,
        "gamma_effect": found.gamma_effect,
        "gamma_effect_se": found.gamma_error,
        "work_deviation": found.work_deviation,
        "broken_proposals": history.broken,
        "lower_loss_share": float((history.excess[found.burn_in :] < 0).mean()),
    }


def _chain_fields(history: ChainHistory, found: ChainEstimate) -> dict[str, Any]:
    """The table of chains, and their losses."""
    starts = ["checkpoint" if chain % 2 == 0 else "random" for chain in range(history.excess.shape[1])]
    kept = np.s_[found.burn_in :]
    return {
        "chain": np.array(starts),
        "chain_llc": history.excess[kept].mean(axis=0),
        "chain_distance": history.distance[kept].mean(axis=0) ** 0.5,
        "chain_acceptance": history.acceptance[kept].mean(axis=0),
        "excess": history.excess.T.copy(),
    }


def _layer_fields(
    groups: tuple[ParameterGroup, ...], found: list[tuple[ChainHistory, ChainEstimate]]
) -> dict[str, Any]:
    """The table of groups that move alone; nothing without groups."""
    if not groups:
        return {}
    columns = {
        "llc": [part.llc for _, part in found],
        "llc_se": [part.error for _, part in found],
        "r_hat": [part.r_hat for _, part in found],
        "draws": [history.draws for history, _ in found],
        "acceptance": [part.acceptance for _, part in found],
    }
    arrays = {name: np.array(values) for name, values in columns.items()}
    return layer_table(groups, arrays["llc"], arrays)


def _cost(objective: Objective, sampling: Sampling, histories: list[ChainHistory]) -> float:
    """The gradients and losses of all chains, of starts, samples and rounding too; a batch is taken twice."""
    share = 2 * sampling.batch / objective.batches.samples if sampling.batch else 1.0
    gradients = sum(h.adaptation + share * (h.chains.evaluations - h.adaptation) for h in histories)
    losses = ROUNDING_DRAWS + sum(history.start_losses + len(history.sample_rises) for history in histories)
    return count_gradients(objective, gradients=1 + sampling.chains * gradients, losses=losses)
