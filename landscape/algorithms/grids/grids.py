"""Regular coordinates that contain the checkpoint itself, at 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def grid_coordinates(count: int, low: float, high: float, *, unit: bool = False) -> np.ndarray:
    """`count` equally spaced numbers in [low, high], ascending, one of which is exactly 0; with `unit` another is 1.

    0 must lie in the range; with `unit`, 1 must too, and count >= 2. If no grid contains both 0 and an end of the
    range, as with an even count and a symmetric range, the grid ends less than a step before that end; with `unit` it
    may also end less than a step behind it.
    """
    if count == 1:
        return np.zeros(1)
    cells, span = count - 1, high - low
    if unit:
        each = min(max(math.ceil(cells / span - 1e-9), 1), cells)  # cells between 0 and 1
        left = round((cells - each) * -low / (span - 1)) if span > 1 else 0
        return np.arange(-left, cells - left + 1) / each
    _, steps, extent, left = max(
        (min(reach / side for side, reach in sides), side, reach, left)
        for left in range(count)
        for sides in [[(n, r) for n, r in ((left, -low), (cells - left, high)) if n]]
        for side, reach in [min(sides, key=lambda pair: pair[1] / pair[0])]
    )
    return np.arange(-left, cells - left + 1) * extent / steps


def center_index(values: np.ndarray) -> int:
    """The index of 0."""
    return int(np.flatnonzero(values == 0)[0])


def center_indices(coordinates: Sequence[np.ndarray]) -> tuple[int, ...]:
    """The index of the point with coordinates 0 in an array whose last axis has the first coordinates."""
    return tuple(center_index(axis) for axis in reversed(coordinates))
