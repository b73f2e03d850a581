"""The parts of an objective that --by names: populations of its samples, its terms, or samples beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.data.grouping import has_column
from landscape.errors import UsageError, safe_excerpt
from landscape.evaluation.per_sample.loss_sums import has_sample_losses, sample_loss_sums
from landscape.evaluation.populations import POPULATION, populations, samples_by_column
from landscape.evaluation.terms import compare_losses, term_names
from landscape.objective import Objective

TERM = "term"  # for `by`: a column of that name, or else the terms of the objective


@dataclass(frozen=True)
class NamedPart:
    """A part by name, without weight decay, and the weight of its mean in that of the whole.

    The weighted sum of the losses, gradients and Hessians of all parts is that of the whole; samples beside those of
    the objective have the weight NaN.
    """

    name: str
    objective: Objective
    weight: float


def parts_by(objective: Objective, by: str, specifications: Sequence[str] = ()) -> tuple[NamedPart, ...]:
    """The parts that `by` names: `class`, a column, `term`, or `population` with the `specifications` of further ones.

    Raises UsageError for a column that does not exist, and if there are no terms or populations.
    """
    plain = objective.variant(decay=None)
    has_own_column = has_column(objective.batches, by)
    if by == TERM and not has_own_column:
        return tuple(NamedPart(name, plain.with_term(name), 1.0) for name in _terms(objective))
    if by == POPULATION and not has_own_column:
        beside = populations(objective, specifications)
        if not beside:
            raise UsageError("--by population: the checkpoint names no populations", fix="--population NAME=DATA")
        return tuple(NamedPart(name, one.variant(decay=None), math.nan) for name, one in beside.items())
    groups = samples_by_column(objective, by)
    return tuple(
        NamedPart(name, one.variant(decay=None), float(one.count / objective.count)) for name, one in groups.items()
    )


def _terms(objective: Objective) -> tuple[str, ...]:
    names = term_names(objective)
    if not names:
        raise UsageError(f"--by term: loss {safe_excerpt(objective.loss.name)} has no terms", fix="--by class")
    return names


def compare_gradients(parts: Sequence[NamedPart]) -> dict[str, np.ndarray]:
    """The mean loss, its standard error, and the gradient norm and share of each of B parts `(B,)`; cosines `(B, B)`.

    A part's share is w (g_b . g) / ||g||^2 with g the weighted sum of the gradients. NaN where a gradient is zero, for
    the share of a part without a weight, and for the error of a loss whose samples have none of their own.
    """
    pairs = [part.objective.value_and_gradient() for part in parts]
    found = compare_losses(pairs, np.array([part.weight for part in parts]))
    errors = np.array([_loss_error(part.objective) for part in parts])
    shares = found.pop("share")
    return {**found, "loss_se": errors, "gradient_share": shares}


def _loss_error(objective: Objective) -> float:
    """The standard error of the mean loss over draws of the samples: that of a ratio of sums; NaN if it is unknown."""
    if objective.batches.samples < 2 or not has_sample_losses(objective):
        return math.nan
    losses, counts = sample_loss_sums(objective, objective.theta).T
    samples, total = len(losses), counts.sum()
    deviations = losses - losses.sum() / total * counts
    return float((deviations.square().sum() * samples / (samples - 1)).sqrt() / total)
