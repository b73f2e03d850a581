"""The bias of eigenvalues by the number of samples, from the eigenvalues of both halves of the data.

The largest eigenvalue is a convex function of the matrix: on a sample of the data it is too large on average, because
the eigenvector fits the sample. If the bias falls as one over the number of samples, the mean over both halves, which
have twice the bias, exceeds the eigenvalue of all the data by the latter's own bias. Errors of first order cancel in
that difference, since the halves add to the whole.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landscape.algorithms.estimators.resampling import group_ends
from landscape.algorithms.lanczos import ritz
from landscape.algorithms.lanczos.state import WantedPairs
from landscape.analyses.base import Progress, State
from landscape.analyses.eig_part_search import search_part

if TYPE_CHECKING:
    from landscape.analyses.eig import Eig
    from landscape.analyses.shared.phases import Phases
    from landscape.operators import LinearOperator


@dataclass(frozen=True)
class DataBiases:
    """The bias `(k,)` of each eigenvalue, and the products that they took, in those over the full data."""

    values: np.ndarray
    products: float


def data_biases(
    analysis: Eig, operator: LinearOperator, samples: int, counts: np.ndarray, values: np.ndarray, phases: Phases
) -> Generator[Progress, None, DataBiases]:
    """Yields after each product with half of the samples; returns the biases of the `values` `(k,)` of all data.

    `counts` are those of the loss terms of each group. NaN where a value did not converge on both halves, or if a half
    has no loss terms.
    """
    half = len(counts) // 2
    place = group_ends(samples, len(counts))[half - 1]
    total, products = np.zeros(len(values)), 0.0
    for index, (ends, count) in enumerate(
        (((0, place), counts[:half].sum()), ((place, samples), counts[half:].sum())),
    ):
        part = operator.on_samples(*ends)
        found, made = yield from phases.run(f"half {index}", partial(_half_values, analysis, part))
        total += count / counts.sum() * found if count else np.nan
        products += made * (ends[1] - ends[0]) / samples
    return DataBiases(total - values, products)


def _half_values(
    analysis: Eig, operator: LinearOperator, saved: State
) -> Generator[Progress, None, tuple[np.ndarray, int]]:
    """The eigenvalues `(k,)` on one half of the samples, NaN for those that did not converge, and its products."""
    wanted = WantedPairs(analysis.k, analysis.which, analysis.tol, confirm=0)
    state = yield from search_part(analysis, operator, wanted, "bias by the number of samples", saved)
    pairs = ritz.ritz_pairs(state, wanted)
    values = np.full(analysis.k, np.nan)
    values[: len(pairs.values)] = np.where(ritz.is_converged(pairs, state, analysis.tol), pairs.values, np.nan)
    return values, state.products
