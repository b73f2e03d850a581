"""Bounds on the share of eigenvalues below a threshold, from the quadrature rules of random probes.

For one probe z the rule bounds the measure of z below the threshold (inequalities of Chebyshev, Markov and Stieltjes;
Szegoe, Orthogonal Polynomials, section 3.41). Over probes the measure of m of P eigenvalues has a known distribution,
Beta(m / 2, (P - m) / 2), whatever the spectrum is: inverting it gives the bound on m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc

from landscape.algorithms.lanczos.batched import QuadratureRule
from landscape.choices import CONFIDENCE

SMALLEST_WEIGHT = 1e-13  # of nodes that rebuild the tridiagonal matrix; smaller ones are rounding, and count as unknown
SAME_NODE = 1e-8  # of the largest node: how near to the threshold the node must come that is put there


@dataclass(frozen=True)
class MassBelow:
    """The share of eigenvalues below a threshold: an estimate, its error, and one-sided 95 % bounds on both sides."""

    share: float
    error: float
    low: float
    high: float


def mass_below(rule: QuadratureRule, threshold: float, rounding: float) -> MassBelow:
    """The share of eigenvalues below the threshold; those within `rounding` of it may lie on both sides.

    Nodes with the exact weight 1 / P are single eigenvalues that all probes found. They are counted, and the other
    nodes are a rule of the rest of the spectrum.
    """
    found = rule.weights == 1 / rule.size  # (n, m)
    counts = found.sum(axis=1)
    if not (counts == counts[0]).all():
        found, counts = np.zeros_like(found), np.zeros_like(counts)
    rest = rule.size - int(counts[0])
    counted = [_count_below(rule, found, threshold, sign * rounding) for sign in (-1, 1)]
    if not rest:
        return _share(counted[0], counted[1], (counted[0] + counted[1]) / 2, 0.0, rule.size)
    exact = rule.exact
    bounds = np.array(
        [
            bounds_below(nodes[keep], weights[keep], threshold, rounding, exact=exact)
            for nodes, weights, keep in zip(rule.nodes, rule.weights, ~found & (rule.weights > 0), strict=True)
        ]
    )
    low, high = bounds.mean(axis=0)
    probes, middle = len(bounds), rest * (low + high) / 2
    sampling = (2 * middle * (rest - middle) / (probes * (rest + 2))) ** 0.5
    error = float(np.hypot(sampling, (rest * (high - low) + counted[1] - counted[0]) / 2))
    fewest, most = _fewest(float(low), probes, rest), rest - _fewest(float(1 - high), probes, rest)
    return _share(counted[0] + fewest, counted[1] + most, (counted[0] + counted[1]) / 2 + middle, error, rule.size)


def bounds_below(
    nodes: np.ndarray, weights: np.ndarray, threshold: float, rounding: float, *, exact: bool
) -> tuple[float, float]:
    """The least and the most mass below the threshold of any measure that has the rule's moments, as shares.

    Of an exact rule the nodes are the measure.
    """
    shares = weights / weights.sum()
    if exact:
        return float(shares[nodes < threshold - rounding].sum()), float(shares[nodes < threshold + rounding].sum())
    lost = float(shares[shares < SMALLEST_WEIGHT].sum())
    nodes, shares = nodes[shares >= SMALLEST_WEIGHT], shares[shares >= SMALLEST_WEIGHT]
    low = _sharp_bounds(nodes, shares, threshold - rounding)[0]
    high = _sharp_bounds(nodes, shares, threshold + rounding)[1]
    return max(0.0, low - lost), min(1.0, high + lost)


def _sharp_bounds(nodes: np.ndarray, shares: np.ndarray, point: float) -> tuple[float, float]:
    """The mass below and up to `point`, in the rule of the same moments that has a node there.

    Where no such rule is found, all mass up to the nodes beside the point.
    """
    total = np.cumsum(shares)
    before = int((nodes < point).sum())
    low = float(total[before - 2]) if before >= 2 else 0.0
    high = float(total[before]) if before < len(nodes) else 1.0
    moved = _rule_with_node(nodes, shares, point)
    if moved is None:
        return low, high
    there, weights = moved
    place = int(np.argmin(np.abs(there - point)))
    return max(low, float(weights[:place].sum())), min(high, float(weights[: place + 1].sum()))


def _rule_with_node(nodes: np.ndarray, shares: np.ndarray, point: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Nodes and weights of the Gauss-Radau rule with a node at `point` (Golub 1973); None where it cannot be found."""
    if len(nodes) < 3:
        return None
    diagonal, beside = _tridiagonal(nodes, shares)
    if not (beside > 0).all():
        return None
    matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    last = np.zeros(len(nodes) - 1)
    last[-1] = beside[-1] ** 2
    try:
        moved = np.linalg.solve(matrix[:-1, :-1] - point * np.eye(len(last)), last)
    except np.linalg.LinAlgError:  # the point is a node of the smaller rule
        return None
    matrix[-1, -1] = point + moved[-1]
    if not np.isfinite(matrix[-1, -1]):
        return None
    values, vectors = np.linalg.eigh(matrix)
    if np.abs(values - point).min() > SAME_NODE * np.abs(nodes).max():
        return None
    return values, vectors[0] ** 2


def _tridiagonal(nodes: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tridiagonal matrix of a rule: Lanczos on the diagonal matrix of the nodes, from the roots of the weights."""
    basis = np.zeros((len(nodes), len(nodes)))
    basis[0] = np.sqrt(shares)
    diagonal, beside = np.zeros(len(nodes)), np.zeros(len(nodes) - 1)
    for step in range(len(nodes)):
        image = nodes * basis[step]
        diagonal[step] = image @ basis[step]
        for _ in range(2):  # "twice is enough" (Parlett 1980, section 6.9)
            image -= basis[: step + 1].T @ (basis[: step + 1] @ image)
        if step + 1 < len(nodes):
            beside[step] = np.linalg.norm(image)
            if not beside[step]:
                break
            basis[step + 1] = image / beside[step]
    return diagonal, beside


def _fewest(mass: float, probes: int, size: int) -> float:
    """The fewest of `size` eigenvalues whose mean mass over probes is as large as `mass` in 5 % of all draws."""
    if mass <= 0:
        return 0.0
    if mass >= 1:
        return float(size)

    def surplus(count: float) -> float:
        """The probability of a mean mass of so many eigenvalues below `mass`, less the confidence."""
        return float(betainc(probes * count / 2, probes * (size - count) / 2, mass)) - CONFIDENCE

    smallest = 1e-9 * size
    if surplus(smallest) <= 0:
        return 0.0
    return float(brentq(surplus, smallest, size * (1 - 1e-9)))


def _count_below(rule: QuadratureRule, found: np.ndarray, threshold: float, rounding: float) -> float:
    """The counted eigenvalues below the threshold: surely (rounding < 0), or possibly, by their residuals."""
    if not found.any():
        return 0.0
    residuals = np.where(found, rule.residuals, 0.0)
    ends = rule.nodes - np.sign(rounding or 1.0) * residuals - rounding
    below = [(row[keep] < threshold).sum() for row, keep in zip(ends, found, strict=True)]
    return float(min(below) if rounding < 0 else max(below))


def _share(low: float, high: float, middle: float, error: float, size: int) -> MassBelow:
    return MassBelow(middle / size, error / size, low / size, high / size)
