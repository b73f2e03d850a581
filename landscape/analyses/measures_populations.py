"""The gradient measures of each population: the phase of `measures` for --by, and its columns."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.analyses.measures_gradients import SAMPLES_COST, gradient_measures
from landscape.analyses.shared.cost import add_cost
from landscape.analyses.shared.populations import compare_populations, population_cost, samples_ratio
from landscape.evaluation.per_sample.outcomes import has_separate_losses

if TYPE_CHECKING:
    from landscape.analyses.measures import Measures, MeasuresResult
    from landscape.analyses.shared.phases import Phases
    from landscape.evaluation.parts import NamedPart
    from landscape.objective import Objective


def add_measures_by_population(
    analysis: Measures, objective: Objective, result: MeasuresResult, phases: Phases
) -> Generator[Progress, None, MeasuresResult]:
    """The result with the columns of --by; yields after the populations' gradients, then after their samples'."""
    parts, columns = yield from compare_populations(analysis, objective, phases)
    work = population_cost(objective, parts)
    unknown = ("population_noise_trace", "population_noise_scale", "population_fisher_rao")
    moments: dict[str, Any] = {name: np.full(len(parts), np.nan) for name in unknown}
    if has_separate_losses(objective):
        norms = columns["population_gradient_norm"]
        moments = yield from phases.run("population samples", partial(_moments, parts, norms))
        work += SAMPLES_COST * samples_ratio(objective, parts)
    return add_cost(replace(result, **columns, **moments), work)


def _moments(
    parts: Sequence[NamedPart], norms: np.ndarray, saved: State
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """The measures of each population's samples `(B,)`; yields after all of them."""
    if saved:
        return dict(saved)
    pairs = [gradient_measures(part.objective, float(norm)) for part, norm in zip(parts, norms, strict=True)]
    trace, fisher_rao = np.array(pairs).T
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(norms > 0, trace / norms**2, np.nan)
    arrays = {
        "population_noise_trace": trace,
        "population_noise_scale": scale,
        "population_fisher_rao": fisher_rao,
    }
    yield Progress(1, 1, "the populations' samples", lambda: arrays)
    return arrays
