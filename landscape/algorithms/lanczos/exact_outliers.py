"""Quadrature rules whose isolated eigenvalues have their exact weight.

In one probe z the weight of a simple eigenvalue is (v'z)^2, which is distributed like chi squared with one degree of
freedom over P; its mean is 1 / P. Where the runs of all probes have found the same eigenvector v, the eigenvalue is
simple and that mean is known: it takes the place of the weight, and only the rest of the spectrum is left to chance. A
repeated eigenvalue shows every probe another vector of its eigenspace, and keeps its random weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from landscape.algorithms.lanczos.basis import eigh
from landscape.algorithms.lanczos.batched import BatchedLanczosState, QuadratureRule, quadrature_rules, tridiagonal
from landscape.network.space import ParameterGroup

EXACT = 1e-3  # residual, relative to the largest node, up to which a node is worth comparing
# cosine of the angle up to which two vectors are the same: two random ones of a plane are so in 0.3 % of all cases
SAME = 1 - 1e-5


def rules_with_exact_outliers(state: BatchedLanczosState, groups: Sequence[ParameterGroup]) -> list[QuadratureRule]:
    """The rule of each group, with exact weights where all probes agree; plain rules if they did not run together."""
    plain = quadrature_rules(state, groups)
    if not state.finished or len(state.basis) < len(state.alpha) or len(state.alpha) < 2:
        return plain
    return [
        _sharpened(state, index, group, rule) for index, (group, rule) in enumerate(zip(groups, plain, strict=True))
    ]


def _sharpened(state: BatchedLanczosState, index: int, group: ParameterGroup, rule: QuadratureRule) -> QuadratureRule:
    first, vectors = _exact(state, index, group, rule, 0)
    matches = {0: first}  # for each probe, its nodes that are the first probe's, -1 where it has none
    for probe in range(1, len(rule.nodes)):
        nodes, others = _exact(state, index, group, rule, probe)
        if not len(first) or not len(nodes):
            return rule
        cosines = sum(a @ b.T for a, b in zip(vectors, others, strict=True)).abs().cpu().numpy()  # type: ignore[union-attr]
        matches[probe] = np.where(cosines.max(axis=1) >= SAME, nodes[cosines.argmax(axis=1)], -1)
    table = np.stack(list(matches.values()))  # (n, k)
    table = table[:, (table >= 0).all(axis=0)]
    return replace(rule, weights=_weights(rule, table))


def _weights(rule: QuadratureRule, shared: np.ndarray) -> np.ndarray:
    """The weights with 1 / size for the shared nodes, and the others scaled to what that leaves."""
    weights, count = rule.weights.copy(), shared.shape[1]
    for row, nodes in zip(weights, shared, strict=True):
        rest = 1 - row[nodes].sum()
        row *= (1 - count / rule.size) / rest if count < rule.size and rest > 0 else 0.0
        row[nodes] = 1 / rule.size
    return weights


def _exact(
    state: BatchedLanczosState, index: int, group: ParameterGroup, rule: QuadratureRule, probe: int
) -> tuple[np.ndarray, list[Tensor]]:
    """A probe's nodes of small residual, and their Ritz vectors as rows, piece by piece of the group."""
    small = rule.residuals[probe] <= EXACT * np.nanmax(np.abs(rule.nodes[probe]))
    nodes = np.flatnonzero(small & np.isfinite(rule.nodes[probe]))
    _, coefficients = eigh(tridiagonal(state.alpha[probe, index], state.beta[probe, index]))
    basis = state.basis[probe, : len(coefficients)]
    chosen = torch.from_numpy(np.ascontiguousarray(coefficients[:, nodes].T)).to(basis)
    return nodes, [chosen @ piece for piece in group.of(basis)]
