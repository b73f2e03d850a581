"""What all measurements of --by share: the populations with their gradients, their matrices, and what that costs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.analyses.base import Progress, State
from landscape.analyses.shared.products import build_operator, count_gradients
from landscape.evaluation.parts import compare_gradients, parts_by

if TYPE_CHECKING:
    from landscape.analyses.shared.by_population import ByPopulation
    from landscape.analyses.shared.curvature import MatrixOptions
    from landscape.analyses.shared.phases import Phases
    from landscape.evaluation.parts import NamedPart
    from landscape.objective import Objective
    from landscape.operators import LinearOperator


def find_parts(analysis: ByPopulation, objective: Objective) -> tuple[NamedPart, ...]:
    """The populations that --by names, none without it; raises UsageError or TaskError before anything is measured."""
    return () if analysis.by is None else parts_by(objective, analysis.by, analysis.population)


def compare_populations(
    analysis: ByPopulation, objective: Objective, phases: Phases
) -> Generator[Progress, None, tuple[tuple[NamedPart, ...], dict[str, Any]]]:
    """The populations that --by names, and the columns that all analyses have; yields after their gradients."""
    parts = find_parts(analysis, objective)
    arrays = yield from phases.run("populations", partial(_gradients, parts))
    names = np.array([part.name for part in parts])
    return parts, {
        "population": names,
        "population_samples": np.array([part.objective.batches.samples for part in parts]),
        "population_share": np.array([part.weight for part in parts]),
        **{f"population_{name}": values for name, values in arrays.items() if name != "cosine"},
        "other_population": names,
        "gradient_cosine": arrays["cosine"],
    }


def _gradients(parts: Sequence[NamedPart], saved: State) -> Generator[Progress, None, dict[str, np.ndarray]]:
    arrays = dict(saved) or compare_gradients(parts)
    if not saved:
        yield Progress(1, 1, "the populations' gradients", lambda: arrays)
    return arrays


def part_operator(analysis: MatrixOptions, part: NamedPart) -> LinearOperator:
    """The matrix of a population, multiplied by the strategies that earlier products have chosen."""
    part.objective.strategies.share(part.objective.largest_micro_batch)
    return build_operator(analysis, part.objective)


def samples_ratio(objective: Objective, parts: Sequence[NamedPart]) -> float:
    """The samples of all parts over those of the objective: 1 for its populations, and more for its terms."""
    return sum(part.objective.batches.samples for part in parts) / objective.batches.samples


def population_cost(objective: Objective, parts: Sequence[NamedPart]) -> float:
    """The work of `compare_populations` in gradients: a gradient and the samples' losses."""
    return samples_ratio(objective, parts) * count_gradients(objective, gradients=1, losses=1)
