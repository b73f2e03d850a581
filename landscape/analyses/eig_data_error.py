"""The error of the leading eigenvalue by the choice of samples, by a search that is cheaper than the measurement."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from landscape.algorithms.estimators.resampling import standard_errors
from landscape.algorithms.lanczos import lanczos, ritz
from landscape.algorithms.lanczos.state import LanczosState, WantedPairs
from landscape.analyses.base import Progress
from landscape.analyses.eig_basis import MIN_ROWS
from landscape.analyses.eig_bias import data_biases
from landscape.analyses.shared.data_error import parse_share, relative_error
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.products import (
    build_operator,
    count_gradients,
    group_quadratics,
    require_resampling,
)
from landscape.analyses.shared.sample_choice import PartError

if TYPE_CHECKING:
    from landscape.analyses.eig import Eig
    from landscape.objective import Objective

SEARCH_TOL = 1e-2  # of the residual: the eigenvalue then errs by 1e-4


def leading_data_error(analysis: Eig, objective: Objective, shift: float = 0.0) -> Generator[Progress, None, PartError]:
    """Yields after each product; returns the error by the data of the first eigenvalue, relative to it plus `shift`.

    The bias is estimated only where the standard error alone is as small as is asked for; else the error without it is
    returned. NaN where the search does not converge.
    """
    target = parse_share(analysis.data_error)
    quick = replace(analysis, k=1, tol=min(SEARCH_TOL, target), certify=False, cross_check=False)
    operator = build_operator(quick, objective)
    require_resampling(analysis, operator, objective)
    wanted = WantedPairs(1, quick.which, quick.tol, confirm=0)
    state: LanczosState | None = None
    for state in lanczos.lanczos(
        operator,
        wanted,
        seed=quick.seed,
        max_basis=min(sum(MIN_ROWS), operator.size),
        max_products=quick.max_products,
    ):
        yield Progress(0, 1, f"{state.products} products", dict)
    assert state is not None  # max_products >= 1
    pairs = ritz.ritz_pairs(state, wanted)
    if not len(pairs.values) or not ritz.is_converged(pairs, state, quick.tol)[0]:
        return PartError(math.nan, count_gradients(objective, quick.operator, products=state.products))
    block = ritz.ritz_vectors(pairs, state.basis).T.to(operator.like)
    products = state.products + 1
    del state
    value = float(pairs.values[0]) + shift
    sums, counts = group_quadratics(quick, operator, objective, block)
    error = relative_error(float(standard_errors(sums, counts)[0]), 0.0, value)
    if not error <= target:
        return PartError(error, count_gradients(objective, quick.operator, products=products))
    samples = objective.batches.samples
    biases = yield from data_biases(quick, operator, samples, counts, np.array(pairs.values[:1]), Phases(None))
    error = math.hypot(error, float(biases.values[0]) / value)
    return PartError(error, count_gradients(objective, quick.operator, products=products + biases.products))
