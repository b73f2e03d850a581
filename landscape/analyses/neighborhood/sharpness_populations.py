"""The sharpness of each population: the phases of `sharpness` for --by, and its columns."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.analyses.base import Progress
from landscape.analyses.neighborhood.average_case import NoiseRises, NoiseSampling, follow_rises
from landscape.analyses.neighborhood.ball_maxima import BallMaxima
from landscape.analyses.neighborhood.ball_objective import loss_in_ball, require_finite_base, with_logit_norm
from landscape.analyses.neighborhood.search_state import BallSearch
from landscape.analyses.neighborhood.worst_case import maximize_in_balls
from landscape.analyses.shared.cost import add_cost
from landscape.analyses.shared.populations import compare_populations, population_cost
from landscape.analyses.shared.products import count_gradients

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.analyses.neighborhood.sharpness import Sharpness
    from landscape.analyses.neighborhood.sharpness_result import SharpnessResult
    from landscape.analyses.shared.phases import Phases
    from landscape.evaluation.parts import NamedPart
    from landscape.objective import Objective

SHARE_OF_STARTS = 2  # a population takes one of so many starts of the whole: all of them would double the cost


@dataclass(frozen=True)
class WholeSearch:
    """The search on all samples: the scale of each weight `(P,)`, the balls, and the noise with its rises."""

    scales: Tensor
    search: BallSearch | None
    sampling: NoiseSampling | None
    average: NoiseRises | None


def add_sharpness_by_population(
    analysis: Sharpness, objective: Objective, result: SharpnessResult, whole: WholeSearch, phases: Phases
) -> Generator[Progress, None, SharpnessResult]:
    """The result with the columns of --by: maxima from fewer starts, and mean rises under the first of the draws."""
    parts, columns = yield from compare_populations(analysis, objective, phases)
    work, rows = population_cost(objective, parts), list[dict[str, Any]]()
    for index, part in enumerate(parts):
        row, gradients = yield from _measure_part(analysis, part, index, whole, phases)
        rows.append(row)
        work += gradients * part.objective.batches.samples / objective.batches.samples
    joined: dict[str, Any] = {f"population_{name}": np.stack([row[name] for row in rows], axis=-1) for name in rows[0]}
    return add_cost(replace(result, **columns, **joined), work)


def _measure_part(
    analysis: Sharpness, part: NamedPart, index: int, whole: WholeSearch, phases: Phases
) -> Generator[Progress, None, tuple[dict[str, np.ndarray], float]]:
    """The columns of one population, `(R,)` each, and their work in gradients of its samples."""
    subject = with_logit_norm(analysis, part.objective)
    base = float(subject.value())
    require_finite_base(base, analysis.logit_norm)
    row, gradients, losses = dict[str, np.ndarray](), 0.0, 1
    if whole.search:
        search = _search_for(whole.search, subject.batches.samples)
        search_part = partial(maximize_in_balls, subject, whole.scales, loss_in_ball(whole.scales, search.starts))
        worst: BallMaxima = yield from phases.run(f"population {index} worst", partial(search_part, search, ()))
        row |= {"s_max": worst.mean(worst.largest()), "hits": worst.hits(), "starts": worst.count_starts()}
        gradients = worst.gradients
    if whole.sampling and whole.average:
        follow = partial(follow_rises, subject, whole.scales, base, whole.sampling)
        steps = partial(follow, whole.sampling.radii, whole.average)
        rises: NoiseRises = yield from phases.run(f"population {index} average", steps)
        mean = rises.mean()
        row |= {"s_avg": mean.value, "s_avg_se": mean.standard_error}
        losses += rises.losses
    return row, count_gradients(subject, gradients=gradients, losses=losses)


def _search_for(search: BallSearch, samples: int) -> BallSearch:
    """The search on a population: fewer starts, no curve, and batches that it has the samples for."""
    fits = search.samples is not None and search.samples < samples
    starts = max(1, search.starts // SHARE_OF_STARTS)
    return replace(search, starts=starts, curve=(), samples=search.samples if fits else None)
