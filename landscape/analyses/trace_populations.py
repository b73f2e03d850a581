"""The trace of each population's matrix, by random vectors that all populations share: the phase of `trace` for --by.

With the same vectors for all, the weighted sum of the populations' values is that of the whole, whose trace is known
better than these vectors tell: it serves as a control variate. The populations' traces then add to the trace exactly.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from landscape.algorithms.estimators.averaging import controlled_mean
from landscape.algorithms.estimators.trace.state import trace_probe
from landscape.analyses.base import Progress, State
from landscape.analyses.shared.cost import add_cost
from landscape.analyses.shared.populations import (
    compare_populations,
    part_operator,
    population_cost,
    samples_ratio,
)
from landscape.analyses.shared.products import count_gradients
from landscape.compute.budget import columns_per_pass

if TYPE_CHECKING:
    from landscape.analyses.shared.phases import Phases
    from landscape.analyses.trace import Trace, TraceResult
    from landscape.evaluation.parts import NamedPart
    from landscape.objective import Objective

MIN_PROBES = 8  # fewer tell no standard error
MAX_PROBES = 256  # relative errors below 1 % on the nets tried: more buy little
COST = 0.5  # of the cost of the whole trace, for the probes of all populations
COLUMNS = 8  # probes in one product


def add_traces_by_population(
    analysis: Trace, objective: Objective, result: TraceResult, phases: Phases
) -> Generator[Progress, None, TraceResult]:
    """The result with the columns of --by; yields after the gradients, and after each block of products."""
    parts, columns = yield from compare_populations(analysis, objective, phases)
    beside = population_cost(objective, parts)
    each = samples_ratio(objective, parts) * count_gradients(objective, analysis.operator, products=1)
    probes = count_probes((result.cost_gradients or 0.0) * COST - beside, each)
    values = yield from phases.run("population traces", partial(_draw, analysis, objective, parts, probes))
    weights = np.array([part.weight for part in parts])
    mean = controlled_mean(values, _controls(values, weights, math.nan if objective.decay else result.trace))
    slopes = (values.mean(axis=0) - mean.value) / ((values @ weights).mean() - result.trace)  # 0 without a control
    errors = np.hypot(mean.standard_error, np.nan_to_num(slopes) * result.standard_error)
    result = replace(result, **columns, population_trace=mean.value, population_trace_se=errors)
    return add_cost(result, beside + probes * each)


def _controls(values: np.ndarray, weights: np.ndarray, trace: float) -> np.ndarray:
    """How far the whole's value of each random vector is from its known trace, `(n,)`; 0 where that is not known."""
    deviations: np.ndarray = values @ weights - trace
    return deviations if np.isfinite(deviations).all() else np.zeros(len(values))


def count_probes(gradients: float, each: float) -> int:
    """The random vectors that so many gradients pay for, within bounds."""
    return int(min(max(gradients / each, MIN_PROBES), MAX_PROBES))


def _draw(
    analysis: Trace, objective: Objective, parts: Sequence[NamedPart], probes: int, saved: State
) -> Generator[Progress, None, np.ndarray]:
    """z'Hz of each random vector z with the matrix of each population, `(probes, B)`; yields after each block."""
    values = np.array(saved["values"]) if saved else np.zeros((0, len(parts)))
    while len(values) < probes:
        width = columns_per_pass(COLUMNS, objective.theta, objective.graph_bytes)
        indices = range(len(values), min(len(values) + width, probes))
        space = objective.space.size, objective.theta
        block = torch.stack([trace_probe(*space, analysis.seed, "population", index) for index in indices], dim=1)
        forms = [(block * part_operator(analysis, part).matmat(block)).double().sum(dim=0) for part in parts]
        values = np.concatenate([values, torch.stack(forms, dim=1).cpu().numpy()])
        yield Progress(len(values), probes, f"populations, {len(values)} probes", partial(dict, values=values))
    return values
