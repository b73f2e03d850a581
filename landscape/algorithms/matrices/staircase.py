"""The largest products lambda_i mu_j of two lists, without forming them all.

With both lists descending, the products above a threshold form a staircase: some leading columns of each row. The
threshold is found by bisection over the floating-point numbers, so the set is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TIE_TOLERANCE = 1e-9  # relative difference of products that count as equal: the rounding of float64 eigenvalues
ROUNDING_STEPS = 3  # columns by which a rounded quotient may miss the boundary that the rounded product defines


@dataclass(frozen=True)
class Staircase:
    """The first `columns[i]` entries of each row i, `(p,)`; `ties` products equal the smallest one in it."""

    columns: np.ndarray
    ties: int = 0

    @property
    def count(self) -> int:
        """The number of entries."""
        return int(self.columns.sum())

    def mask(self, width: int) -> np.ndarray:
        """Whether each entry of a `(p, width)` matrix belongs to the staircase."""
        inside: np.ndarray = np.arange(width) < self.columns[:, None]
        return inside

    def mass(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """The sum of the products rows[i] columns[j] over the entries."""
        return float(rows @ _cumulative(columns)[self.columns])


def heaviest_prefix(rows: np.ndarray, columns: np.ndarray, share: float) -> Staircase:
    """The fewest largest products whose sum is at least `share` of the whole sum; everything for a share of 1.

    `rows` `(p,)` and `columns` `(q,)` are nonnegative and descending; of equal products, earlier rows come first.
    """
    if share >= 1:
        return Staircase(np.full(len(rows), len(columns)))
    cumulative = _cumulative(columns)
    wanted = share * rows.sum() * cumulative[-1]

    def missing(inside: np.ndarray, step: float) -> int:
        left = wanted - rows @ cumulative[inside]
        return int(np.ceil(left / step)) if left > 0 and step > 0 else 0

    return _prefix(rows, columns, lambda inside: rows @ cumulative[inside] >= wanted, missing)


def largest_products(rows: np.ndarray, columns: np.ndarray, count: int) -> Staircase:
    """The `count` largest products."""
    if count >= len(rows) * len(columns):
        return Staircase(np.full(len(rows), len(columns)))
    return _prefix(rows, columns, lambda inside: inside.sum() >= count, lambda inside, step: count - int(inside.sum()))


def _prefix(
    rows: np.ndarray,
    columns: np.ndarray,
    enough: Callable[[np.ndarray], bool],
    missing: Callable[[np.ndarray, float], int],
) -> Staircase:
    """The products above the largest threshold that is enough, with as many of its equals as are missing."""
    low, high = 0, int(_bits(float(rows[0] * columns[0]))) + 1  # enough at low (everything), not at high (nothing)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if enough(_above(rows, columns, _number(middle))) else (low, middle)
    threshold = _number(low)
    outside = _above(rows, columns, _number(low + 1))
    equals = _above(rows, columns, threshold) - outside
    count = min(max(missing(outside, threshold), 0), int(equals.sum()))
    before = np.concatenate([[0], np.cumsum(equals)[:-1]])
    inside = outside + np.clip(count - before, 0, equals)
    return Staircase(inside, _ties(rows, columns, threshold, int(inside.sum())))


def _ties(rows: np.ndarray, columns: np.ndarray, threshold: float, count: int) -> int:
    """How many products equal the smallest one inside, if some of them are outside."""
    if not threshold:
        return 0
    upper = int(_above(rows, columns, threshold * (1 + TIE_TOLERANCE)).sum())
    lower = int(_above(rows, columns, threshold * (1 - TIE_TOLERANCE)).sum())
    return lower - upper if upper < count < lower else 0


def _above(rows: np.ndarray, columns: np.ndarray, threshold: float) -> np.ndarray:
    """The number of leading columns of each row whose products are at least the threshold, `(p,)`."""
    if threshold <= 0:
        return np.full(len(rows), len(columns))
    quotients = np.divide(threshold, rows, out=np.full(len(rows), np.inf), where=rows > 0)
    counts: np.ndarray = len(columns) - np.searchsorted(columns[::-1], quotients, side="left")
    last = len(columns) - 1
    for _ in range(ROUNDING_STEPS):  # the quotient is rounded; the product decides
        counts += (counts <= last) & (rows * columns[np.minimum(counts, last)] >= threshold)
        counts -= (counts > 0) & (rows * columns[counts - 1] < threshold)
    return counts


def _cumulative(values: np.ndarray) -> np.ndarray:
    """The sums of the first 0, 1, ... values."""
    summed: np.ndarray = np.concatenate([[0.0], np.cumsum(values)])
    return summed


def _bits(value: float) -> np.int64:
    """The index of the number among the nonnegative floating-point numbers."""
    return np.float64(value).view(np.int64)


def _number(bits: int) -> float:
    """The nonnegative floating-point number of that index."""
    return float(np.int64(bits).view(np.float64))
