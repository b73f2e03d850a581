"""The curvature of each population: the phase of `eig` for --by, and its columns.

The Hessians of the populations, weighted by their shares, add to that of all samples. So do their quadratic forms along
its eigenvectors, which therefore tell who makes a direction sharp.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from landscape.algorithms.lanczos import ritz
from landscape.algorithms.lanczos.state import WantedPairs
from landscape.analyses.base import Progress, State
from landscape.analyses.eig_part_search import search_part
from landscape.analyses.shared.cost import add_cost
from landscape.analyses.shared.populations import compare_populations, part_operator, population_cost
from landscape.analyses.shared.products import count_gradients
from landscape.evaluation.terms import cosines

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.analyses.eig import Eig, EigResult
    from landscape.analyses.shared.phases import Phases
    from landscape.evaluation.parts import NamedPart
    from landscape.objective import Objective

SEARCH = 7  # products for the largest eigenvalue of a population: 5.4 to 6.8 to 1e-3 by class on three nets


def add_eigenvalues_by_population(
    analysis: Eig, objective: Objective, result: EigResult, phases: Phases
) -> Generator[Progress, None, EigResult]:
    """The result with the columns of --by; yields after the gradients, and after the products of each population."""
    parts, columns = yield from compare_populations(analysis, objective, phases)
    vectors = _leading_vectors(result, objective.theta)
    found, products = list[dict[str, np.ndarray]](), 0.0
    for index, part in enumerate(parts):
        one = yield from phases.run(f"population {index}", partial(_measure_part, analysis, part, vectors))
        found.append(one)
        made = int(one["products"]) + vectors.shape[1]
        products += made * part.objective.batches.samples / objective.batches.samples
    joined = {name: np.stack([one[name] for one in found]) for name in found[0]}
    result = replace(
        result,
        **columns,
        population_eigenvalue=joined["value"],
        population_residual=joined["residual"],
        population_converged=joined["converged"] == 1,
        population_along=np.diagonal(joined["within"], axis1=1, axis2=2).copy(),
        curvature_cosine=_curvature_cosines(joined["within"]),
    )
    cost = count_gradients(objective, analysis.operator, products=products)
    return add_cost(result, cost + population_cost(objective, parts))


def count_ranks(k: int, products: int) -> int:
    """Along how many eigenvectors populations are measured: half of the products pay for them and for the search."""
    return max(1, min(k, products // 2 - SEARCH))


def _leading_vectors(result: EigResult, like: Tensor) -> Tensor:
    """The leading eigenvectors `(P, r)` of the result."""
    assert result.vectors is not None  # it was measured just now, and --by keeps them
    count = count_ranks(result.vectors.shape[1], result.products)
    return torch.from_numpy(np.ascontiguousarray(result.vectors[:, :count])).to(like)


def _measure_part(
    analysis: Eig, part: NamedPart, vectors: Tensor, saved: State
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """The largest eigenvalue of a population, and its matrix in the span of the vectors `(r, r)`.

    Yields after each product of the search, and at its end.
    """
    if "within" in saved:
        return dict(saved)
    operator = part_operator(analysis, part)
    wanted = WantedPairs(1, "largest", analysis.tol, confirm=0)
    state = yield from search_part(analysis, operator, wanted, "population", saved)
    pairs = ritz.ritz_pairs(state, wanted)
    converged = bool(ritz.is_converged(pairs, state, analysis.tol).all())
    within = (vectors.T @ operator.matmat(vectors)).double().cpu().numpy()
    arrays = {
        "value": np.array(pairs.values[0]),
        "residual": np.array(ritz.true_residuals(pairs.residuals, state)[0]),
        "converged": np.array(int(converged)),
        "within": (within + within.T) / 2,
        "products": np.array(state.products),
    }
    yield Progress(1, 1, "population", lambda: arrays)
    return arrays


def _curvature_cosines(within: np.ndarray) -> np.ndarray | None:
    """The cosines `(B, B)` between matrices `(B, r, r)` by the Frobenius inner product; None for one vector."""
    if within.shape[1] < 2:
        return None
    rows = within.reshape(len(within), -1)
    return cosines(rows @ rows.T)
