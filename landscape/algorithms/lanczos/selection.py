"""The selection and ranking of the wanted eigenvalues."""

from __future__ import annotations

from typing import Literal

import numpy as np

Which = Literal["largest", "smallest", "magnitude", "both"]


def select_eigenvalues(values: np.ndarray, count: int, which: Which, handicap: np.ndarray | float = 0.0) -> np.ndarray:
    """Indices of the `count` wanted values, best first; of all values if there are fewer. Ties keep their order.

    `both` selects ceil(count / 2) from the upper end and the rest from the lower, ranked from the largest down. A value
    with a `handicap` must beat the others by that much.
    """
    downward: np.ndarray = np.argsort(-(values - handicap), kind="stable")
    upward: np.ndarray = np.argsort(values + handicap, kind="stable")
    by_size: np.ndarray = np.argsort(-(np.abs(values) - handicap), kind="stable")
    if which == "magnitude":
        return by_size[:count]
    if which == "smallest":
        return upward[:count]
    if which == "largest":
        return downward[:count]
    lower = min(count, len(values)) // 2
    upper = downward[: min(count, len(values)) - lower]
    below = upward[~np.isin(upward, upper)][:lower]
    return np.concatenate([upper, below[::-1]])
