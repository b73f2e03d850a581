"""Quadrature rules whose isolated eigenvalues have their exact weight.

In the rule of one probe z, a simple eigenvalue has the weight (v'z)^2, which is distributed like chi squared with one
degree of freedom over P; its mean is 1 / P. If the runs of all probes find the same eigenvector v, the eigenvalue is
simple, and 1 / P replaces the random weight. Only the rest of the spectrum is then left to chance. For a repeated
eigenvalue every probe finds another vector of the eigenspace, so its random weights stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from landscape.algorithms.lanczos.basis import eigh, rotate
from landscape.algorithms.lanczos.batched import (
    BatchedLanczosState,
    QuadratureRule,
    pieces,
    quadrature_rules,
    tridiagonal,
)
from landscape.compute.inner_products import overlaps
from landscape.network.space import ParameterGroup

COMPARABLE_RESIDUAL = 1e-3  # largest residual of nodes that are compared, relative to the largest node
# Least cosine of the angle between two vectors that count as the same; two random vectors of a plane pass in 0.3 % of
# all cases.
SAME_VECTOR_COSINE = 1 - 1e-5


def rules_with_exact_outliers(state: BatchedLanczosState, groups: Sequence[ParameterGroup]) -> list[QuadratureRule]:
    """The rule of each group, with exact weights for nodes on which all probes agree.

    Returns plain rules if the probes did not share their passes: their bases are then no longer held.
    """
    plain = quadrature_rules(state, groups)
    if not state.finished or len(state.basis) < len(state.alpha) or len(state.alpha) < 2:
        return plain
    return [
        _with_exact_weights(state, index, group, rule)
        for index, (group, rule) in enumerate(zip(groups, plain, strict=True))
    ]


def _with_exact_weights(
    state: BatchedLanczosState, index: int, group: ParameterGroup, rule: QuadratureRule
) -> QuadratureRule:
    first, vectors = _comparable_nodes(state, index, group, rule, 0)
    matches = {0: first}  # by probe: the nodes that match the first probe's, -1 without a match
    for probe in range(1, len(rule.nodes)):
        nodes, others = _comparable_nodes(state, index, group, rule, probe)
        if not len(first) or not len(nodes):
            return rule
        products = sum(overlaps(a, b) for a, b in zip(vectors, others, strict=True))
        cosines = products.abs().cpu().numpy()  # type: ignore[union-attr]
        matches[probe] = np.where(cosines.max(axis=1) >= SAME_VECTOR_COSINE, nodes[cosines.argmax(axis=1)], -1)
    table = np.stack(list(matches.values()))  # (n, k)
    table = table[:, (table >= 0).all(axis=0)]
    return replace(rule, weights=_weights(rule, table))


def _weights(rule: QuadratureRule, shared: np.ndarray) -> np.ndarray:
    """The weights with 1 / size for the shared nodes, the others scaled so that all add to 1."""
    weights, count = rule.weights.copy(), shared.shape[1]
    for row, nodes in zip(weights, shared, strict=True):
        rest = 1 - row[nodes].sum()
        row *= (1 - count / rule.size) / rest if count < rule.size and rest > 0 else 0.0
        row[nodes] = 1 / rule.size
    return weights


def _comparable_nodes(
    state: BatchedLanczosState, index: int, group: ParameterGroup, rule: QuadratureRule, probe: int
) -> tuple[np.ndarray, list[Tensor]]:
    """The indices of a probe's nodes of small residual, and their Ritz vectors, a tensor of rows per piece."""
    small = rule.residuals[probe] <= COMPARABLE_RESIDUAL * np.nanmax(np.abs(rule.nodes[probe]))
    nodes = np.flatnonzero(small & np.isfinite(rule.nodes[probe]))
    _, coefficients = eigh(tridiagonal(state.alpha[probe, index], state.beta[probe, index]))
    basis = state.basis[probe, : len(coefficients)]
    vectors = basis.new_empty((len(nodes), basis.shape[1]))
    rotate(basis, coefficients[:, nodes].T, vectors)
    return nodes, pieces(group, vectors)
