"""The largest products lambda_i mu_j of two lists, without forming them all.

With both lists descending, what lies above a threshold is a staircase: as many leading columns in each row as do not
fall below it. A threshold is found by bisection over the floating-point numbers, so the set is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NEAR = 1e-9  # relative: masses that close are one to float64 eigenvalues
ADJUSTED = 3  # steps by which a rounded quotient may miss the place that the product decides


@dataclass(frozen=True)
class Staircase:
    """The first `columns[i]` entries of each row i, `(p,)`; `ties` weigh as much as its last."""

    columns: np.ndarray
    ties: int = 0

    @property
    def count(self) -> int:
        return int(self.columns.sum())

    def mask(self, width: int) -> np.ndarray:
        """Whether each entry is among them, `(p, width)`."""
        inside: np.ndarray = np.arange(width) < self.columns[:, None]
        return inside

    def mass(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """The sum of their products."""
        return float(rows @ _cumulative(columns)[self.columns])


def heaviest_prefix(rows: np.ndarray, columns: np.ndarray, share: float) -> Staircase:
    """The shortest prefix, by descending product, with at least `share` of the whole mass; everything for a share of 1.

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
    """What lies above the largest threshold that is enough, without what is too much of its equals."""
    low, high = 0, int(_bits(float(rows[0] * columns[0]))) + 1  # enough at low (everything), not at high (nothing)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if enough(_above(rows, columns, _number(middle))) else (low, middle)
    threshold = _number(low)
    outside = _above(rows, columns, _number(low + 1))
    equals = _above(rows, columns, threshold) - outside
    taken = min(max(missing(outside, threshold), 0), int(equals.sum()))
    before = np.concatenate([[0], np.cumsum(equals)[:-1]])
    inside = outside + np.clip(taken - before, 0, equals)
    return Staircase(inside, _ties(rows, columns, threshold, int(inside.sum())))


def _ties(rows: np.ndarray, columns: np.ndarray, threshold: float, taken: int) -> int:
    """How many products are as large as the last that was taken, if some of them were not."""
    if not threshold:
        return 0
    upper = int(_above(rows, columns, threshold * (1 + NEAR)).sum())
    lower = int(_above(rows, columns, threshold * (1 - NEAR)).sum())
    return lower - upper if upper < taken < lower else 0


def _above(rows: np.ndarray, columns: np.ndarray, threshold: float) -> np.ndarray:
    """How many leading columns of each row have products of at least the threshold, `(p,)`."""
    if threshold <= 0:
        return np.full(len(rows), len(columns))
    quotients = np.divide(threshold, rows, out=np.full(len(rows), np.inf), where=rows > 0)
    found: np.ndarray = len(columns) - np.searchsorted(columns[::-1], quotients, side="left")
    last = len(columns) - 1
    for _ in range(ADJUSTED):  # the quotient is rounded; the product decides
        found += (found <= last) & (rows * columns[np.minimum(found, last)] >= threshold)
        found -= (found > 0) & (rows * columns[found - 1] < threshold)
    return found


def _cumulative(values: np.ndarray) -> np.ndarray:
    summed: np.ndarray = np.concatenate([[0.0], np.cumsum(values)])
    return summed


def _bits(value: float) -> np.int64:
    """The number's place among the nonnegative floating-point numbers."""
    return np.float64(value).view(np.int64)


def _number(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
