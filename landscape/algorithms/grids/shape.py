"""Numbers that describe the shape of a line or a surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AREA_SUBDIVISIONS = 8  # of a grid step, when an area is measured


def second_difference(values: np.ndarray, step: float, place: int) -> float | None:
    """(f(-h) - 2 f(0) + f(h)) / h^2 at an index of a line; None at its ends."""
    if not 0 < place < len(values) - 1:
        return None
    before, here, after = values[place - 1 : place + 2]
    return float((before - 2 * here + after) / step**2)


def variation(line: np.ndarray) -> float:
    """Total variation over range: 1 for a monotone line, at most 2 for one valley, more for a rough line.

    It is 2 l T of arXiv 2103.11069. NaN for a constant line, or one that is not finite.
    """
    span = float(np.ptp(line))
    return float(np.abs(np.diff(line)).sum() / span) if span > 0 and math.isfinite(span) else math.nan


def roughness(variations: Sequence[float]) -> float | None:
    """The roughness index std(T) / mean(T) of several lines (arXiv 2103.11069); None for fewer than two."""
    finite = np.array([value for value in variations if math.isfinite(value)])
    return float(finite.std(ddof=1) / finite.mean()) if len(finite) > 1 else None


def barrier(line: np.ndarray, coordinates: np.ndarray) -> float:
    """max over t in [0, 1] of L(t) - ((1 - t) L(0) + t L(1)) (Frankle et al. 2020, in Entezari et al. 2022's form).

    0 and 1 must be among the coordinates, so the barrier is never negative. NaN if a value between them is not finite.
    """
    between = (coordinates >= 0) & (coordinates <= 1)
    values, t = line[between], coordinates[between]
    return float((values - (values[0] + t * (values[-1] - values[0]))).max())


@dataclass(frozen=True)
class BasinSize:
    """The length or area of a basin below a level; open if the grid ends before the values rise above the level."""

    value: float
    open: bool


def basin_width(line: np.ndarray, coordinates: np.ndarray, place: int, level: float) -> BasinSize:
    """The width at `level` of the basin around index `place`, with straight lines between points; 0 if it is higher."""
    if not line[place] <= level:
        return BasinSize(0.0, open=False)
    ends, is_open = [], False
    for side in (-1, 1):
        here = place
        while 0 <= here + side < len(line) and line[here + side] <= level:
            here += side
        if not 0 <= here + side < len(line):
            is_open = True
            ends.append(float(coordinates[here]))
            continue
        rise = line[here + side] - line[here]
        is_open |= math.isnan(rise)  # NaN is no rise above the level
        share = (level - line[here]) / rise if math.isfinite(rise) else 0.0
        ends.append(float(coordinates[here] + share * (coordinates[here + side] - coordinates[here])))
    return BasinSize(ends[1] - ends[0], is_open)


@dataclass(frozen=True)
class BasinRegion:
    """A basin below a level: its extent along each axis (rows first), its area, and whether it leaves the grid."""

    extents: tuple[float, float]
    area: BasinSize


def basin_area(
    values: np.ndarray, axes: tuple[np.ndarray, np.ndarray], place: tuple[int, int], level: float
) -> BasinSize:
    """The area of the basin around index `place` below a level, in the axes' coordinates (rows first).

    The grid is refined by straight lines between points; the points below the level that are connected with `place` are
    counted. The basin is open if it touches an edge or NaN.
    """
    return basin_region(values, axes, place, level).area


def basin_region(
    values: np.ndarray, axes: tuple[np.ndarray, np.ndarray], place: tuple[int, int], level: float
) -> BasinRegion:
    """The basin around index `place` below a level with its extents, found as `basin_area` finds it."""
    from scipy.ndimage import binary_dilation, label

    steps = [np.linspace(0, len(axis) - 1, AREA_SUBDIVISIONS * (len(axis) - 1) + 1) for axis in axes]
    filled = np.where(np.isnan(values), np.inf, values)
    with np.errstate(invalid="ignore"):  # between two infinities
        fine = _between(_between(filled, steps[0], 0), steps[1], 1)
    below = fine <= level  # False for NaN
    regions, _ = label(below)
    spot = (AREA_SUBDIVISIONS * place[0], AREA_SUBDIVISIONS * place[1])
    mine = (regions == regions[spot]) & below[spot]
    edge = np.ones_like(mine)
    edge[1:-1, 1:-1] = False
    coarse = mine[::AREA_SUBDIVISIONS, ::AREA_SUBDIVISIONS]
    unseen = (binary_dilation(np.isnan(values)) & coarse).any()  # beside NaN no rise is known
    sides = [(axis[-1] - axis[0]) / (len(steps[i]) - 1) for i, axis in enumerate(axes)]
    spans = [np.ptp(np.flatnonzero(mine.any(axis=1 - i))) if mine.any() else 0 for i in range(2)]
    extents = float(spans[0] * sides[0]), float(spans[1] * sides[1])
    area = BasinSize(float(mine.sum()) * float(np.prod(sides)), bool((mine & edge).any() or unseen))
    return BasinRegion(extents, area)


def _between(values: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Values at fractional indices along an axis."""
    low = np.minimum(places.astype(int), values.shape[axis] - 2)
    share = np.expand_dims(places - low, 1 - axis)
    left, right = np.take(values, low, axis), np.take(values, low + 1, axis)
    mixed: np.ndarray = np.where(share == 0, left, np.where(share == 1, right, left + share * (right - left)))
    return mixed
