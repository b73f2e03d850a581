"""A function on a full grid from evaluations at some of its points: more of them where it bends.

The grid is cut into cells of 4 x 4 steps. In each round the centre of every open cell is predicted by interpolation
from all that is known, then evaluated: where the prediction was good enough the cell is closed, elsewhere it is cut
into four. What is interpolated is the logarithm where all values are positive, so that a basin is as true as the walls
around it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

STRIDE = 4  # steps of a first cell: of 2, 4, 8 and 10 it needed the fewest evaluations for 1 % on five nets
SAFETY = 2  # a cell is closed if its prediction was so many times better than asked: the worst point is not the centre
RELATIVE = 5  # relative to the value itself an error may be so many times what is allowed relative to the range
NEIGHBOURS = 60  # known points that one value is interpolated from, where there are more than ...
ALL = 400  # ... so many: up to there one system of equations for all is as fast

Index = tuple[int, ...]
Cell = tuple[tuple[int, int], ...]  # first and last index along each axis


@dataclass(frozen=True)
class Refined:
    """Values on the whole grid, which of them were evaluated, and an estimate of the error of the others.

    The error of a point is twice the largest deviation that was seen within a cell of it, before the evaluation that
    showed it was used.
    """

    values: np.ndarray
    evaluated: np.ndarray
    errors: np.ndarray


def refined(shape: tuple[int, ...], tol: float) -> Generator[list[Index], Sequence[float], Refined]:
    """Yields the points to be evaluated next and is sent their values; `tol` is the error relative to the range.

    One or two axes. Values that are not finite are never interpolated, nor is what lies beside them: there every point
    is evaluated.
    """
    from scipy.ndimage import maximum_filter

    def record(points: list[Index], found: Sequence[float]) -> None:
        for point, value in zip(points, found, strict=True):
            values[point], known[point] = value, True

    values, known, errors = np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape)
    ticks = [sorted({*range(0, length, STRIDE), length - 1}) for length in shape]
    cells: list[Cell] = list(product(*(list(pairwise(axis)) or [(0, 0)] for axis in ticks)))
    wanted: list[Index] = list(product(*ticks))
    while cells or wanted:
        if wanted:
            record(wanted, (yield wanted))
        centres = {cell: tuple((first + last) // 2 for first, last in cell) for cell in cells}
        fresh = sorted({point for point in centres.values() if not known[point]})
        predicted = interpolated(values, known, fresh)
        if fresh:
            record(fresh, (yield fresh))
        deviation = {point: abs(guess - values[point]) for point, guess in zip(fresh, predicted, strict=True)}
        allowed = tol * np.ptp(values[np.isfinite(values)]) if np.isfinite(values).any() else 0.0
        opened = []
        for cell, point in centres.items():
            gap = deviation.get(point, 0.0)
            good = gap * SAFETY <= allowed and gap <= RELATIVE * tol * abs(values[point])
            inside = tuple(slice(first, last + 1) for first, last in cell)
            whole = np.isfinite(values[inside][known[inside]]).all()
            if good and whole:
                errors[inside] = np.maximum(errors[inside], gap)
            else:
                opened.append((cell, point))
        wanted = sorted({point for cell, middle in opened for point in _corners(cell, middle) if not known[point]})
        cells = [part for cell, middle in opened for part in _parts(cell, middle)]
    missing = [tuple(place) for place in np.argwhere(~known)]
    values[~known] = interpolated(values, known, missing)
    estimates = maximum_filter(SAFETY * errors, size=STRIDE + 1, mode="nearest")
    return Refined(values, known, np.where(known, 0, estimates))


def interpolated(values: np.ndarray, known: np.ndarray, points: Sequence[Index]) -> np.ndarray:
    """Values at `points` by cubic radial basis functions through the finite known ones; NaN if these are too few."""
    from scipy.interpolate import RBFInterpolator

    axes = [axis for axis, length in enumerate(values.shape) if length > 1]
    use = known & np.isfinite(values)
    places, heights = np.argwhere(use)[:, axes].astype(float), values[use]
    if not len(points) or len(places) < 2 + len(axes):
        return np.full(len(points), np.nan)
    logarithmic = bool((heights > 0).all())
    near = NEIGHBOURS if len(places) > ALL else None
    function = RBFInterpolator(places, np.log(heights) if logarithmic else heights, kernel="cubic", neighbors=near)
    found: np.ndarray = function(np.array(points, float)[:, axes])
    return np.exp(found) if logarithmic else found


def linear(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The grid with what is not known filled in between known neighbours: it overshoots none of them."""
    from scipy.interpolate import LinearNDInterpolator

    axes = [axis for axis, length in enumerate(values.shape) if length > 1]
    filled, places, missing = values.copy(), np.argwhere(known)[:, axes], np.argwhere(~known)[:, axes]
    if len(axes) == 1:
        filled[~known] = np.interp(missing[:, 0], places[:, 0], values[known])
    elif len(missing):
        filled[~known] = LinearNDInterpolator(places, values[known])(missing)
    return filled


def _corners(cell: Cell, middle: Index) -> list[Index]:
    return list(product(*({first, centre, last} for (first, last), centre in zip(cell, middle, strict=True))))


def _parts(cell: Cell, middle: Index) -> list[Cell]:
    """The cells that a cell is cut into, but for those without a point inside."""
    halves = [{(first, centre), (centre, last)} for (first, last), centre in zip(cell, middle, strict=True)]
    return [part for part in product(*halves) if not _small(part)]


def _small(cell: Cell) -> bool:
    return all(last - first <= 1 for first, last in cell)
