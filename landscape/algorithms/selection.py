"""Which eigenvalues are wanted, and in what order they are ranked."""

from __future__ import annotations

from typing import Literal

import numpy as np

Which = Literal["largest", "smallest", "magnitude", "both"]


def select(values: np.ndarray, count: int, which: Which) -> np.ndarray:
    """Indices of the `count` wanted values, best first; all of them if there are fewer.

    `both` takes ceil(count / 2) from the upper end and the rest from the lower, ranked from the largest down.
    """
    by_size: np.ndarray = np.argsort(-np.abs(values), kind="stable")
    if which == "magnitude":
        return by_size[:count]
    ascending: np.ndarray
    descending: np.ndarray
    ascending, descending = np.argsort(values, kind="stable"), np.argsort(-values, kind="stable")
    if which == "smallest":
        return ascending[:count]
    if which == "both" and len(values) > count:
        lower = count // 2
        return np.concatenate([descending[: count - lower], ascending[:lower][::-1]])
    return descending[:count]


def discounted(values: np.ndarray, margin: np.ndarray, which: Which, centre: float) -> np.ndarray:
    """The values moved by `margin` away from being wanted: what newcomers must still beat others with."""
    if which == "magnitude":
        towards_zero: np.ndarray = np.sign(values) * np.maximum(np.abs(values) - margin, 0)
        return towards_zero
    side = np.sign(values - centre) if which == "both" else -1 if which == "smallest" else 1
    moved: np.ndarray = values - side * margin
    return moved
