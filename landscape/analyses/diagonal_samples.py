"""The diagonal of J'M J from single samples' gradients: exact in one pass, or by draws until precise enough."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.algorithms.estimators.diagonal.state import relative_norm
from landscape.analyses.base import Progress, State
from landscape.analyses.diagonal_table import DiagonalEstimate
from landscape.errors import LandscapeError, LostRankError
from landscape.operators.output_vectors import OutputVectors
from landscape.operators.pullback import NoBatchingError
from landscape.operators.sample_diagonal import DiagonalPass, SampleDiagonal, gradients_of_pass

if TYPE_CHECKING:
    from landscape.analyses.diagonal import Diagonal
    from landscape.network.space import ParameterGroup
    from landscape.objective import Objective

MIN_PASSES = 2  # of drawn vectors: a rare token may have no sample in which its label varies


def sum_samples(
    analysis: Diagonal, objective: Objective, vectors: OutputVectors, groups: Sequence[ParameterGroup], saved: State
) -> Generator[Progress, None, DiagonalEstimate]:
    """Yields after each pass; returns the diagonal, whose errors are those over the draws."""
    whole = DiagonalPass(objective, vectors, groups)
    state = dict(saved) or None
    names = np.array(objective.space.names, dtype=str)
    while state is None or not _finished(analysis, vectors, state):
        unknown = None if state is None else frozenset(names[state["unknown"]].tolist())
        found = whole.run(0 if state is None else int(state["passes"]), unknown)
        state = _add(state, found, np.isin(names, list(found.unknown)))
        yield _progress(analysis, vectors, state)
    return _estimate(vectors, state)


def exact_diagonal(objective: Objective, vectors: OutputVectors) -> SampleDiagonal | None:
    """The exact diagonal; None where the gradients of single samples cannot be had."""
    try:
        return DiagonalPass(objective, vectors).run()
    except LostRankError:
        raise
    except (LandscapeError, NoBatchingError):  # a part of the model that cannot be followed, or differentiated
        return None


def _add(state: dict[str, np.ndarray] | None, found: SampleDiagonal, unknown: np.ndarray) -> dict[str, np.ndarray]:
    """The sums over passes, with one more."""
    parts = {"diagonal": found.diagonal, "variance": found.variance, "groups": found.group_variance}
    if state is None:
        return {**parts, "unknown": unknown, "passes": np.array(1)}
    sums = {name: state[name] + part for name, part in parts.items()}
    return {**sums, "unknown": unknown, "passes": state["passes"] + 1}


def _errors(state: State) -> tuple[float, float]:
    """The sum of the variances of the mean over passes, and the squared norm of the diagonal without it."""
    passes = int(state["passes"])
    error = float(state["variance"].sum()) / passes**2
    return error, float((state["diagonal"] ** 2).sum()) / passes**2 - error


def _finished(analysis: Diagonal, vectors: OutputVectors, state: State) -> bool:
    """Whether the entries are exact or precise enough, or no pass is left."""
    passes = int(state["passes"])
    if vectors.exact or (passes + 1) * vectors.per_pass > analysis.max_products:
        return True
    return passes >= MIN_PASSES and relative_norm(*_errors(state)) <= analysis.rtol


def _progress(analysis: Diagonal, vectors: OutputVectors, state: dict[str, np.ndarray]) -> Progress:
    if vectors.exact:
        return Progress(1, 1, f"{vectors.per_pass} backward passes", lambda: state)
    reached = relative_norm(*_errors(state))
    share = min(1.0, (analysis.rtol / reached) ** 2) if reached else 1.0
    draws = int(state["passes"]) * vectors.per_pass
    return Progress(round(100 * share), 100, f"{draws} draws, errors {reached:.2g} of the diagonal", lambda: state)


def _estimate(vectors: OutputVectors, state: State) -> DiagonalEstimate:
    """The mean over the passes."""
    passes, exact = int(state["passes"]), vectors.exact
    each = gradients_of_pass(vectors.per_pass, all_known=not state["unknown"].any())
    diagonal = state["diagonal"] / passes
    groups = np.zeros(0) if exact else state["groups"] / passes**2
    return DiagonalEstimate(
        diagonal=diagonal,
        variance=np.zeros_like(diagonal) if exact else state["variance"] / passes**2,
        group_variance=groups,
        draws=0 if exact else passes * vectors.per_pass,
        gradients=passes * each,
    )
