"""A function on a full grid from evaluations at some of its points: more of them where it bends.

The grid is cut into cells of 4 x 4 steps. In each round the centre of every open cell, and the middle of a side that
lies on the border of the grid, is predicted by interpolation from all that is known, then evaluated: where the
prediction was good enough the cell is closed, elsewhere it is cut into four. A closed cell is opened again if what was
learnt around it changes what is interpolated in it. What is interpolated is the logarithm where all values are
positive, so that a basin is as true as the walls around it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

STRIDE = 4  # steps of a first cell: of 2, 4, 8 and 10 it needed the fewest evaluations for 1 % on five nets
SAFETY = 3  # a cell is closed if its prediction was so many times better than asked: the worst point is not the centre,
# and beside a kink it is far from it (at 2, one kinked surface in five was wrong by up to 1.8 times the tolerance)
RELATIVE = 5  # relative to the value itself an error may be so many times what is allowed relative to the range
NEIGHBOURS = 60  # known points that one value is interpolated from, where there are more than ...
ALL = 400  # ... so many: up to there one system of equations for all is as fast

Index = tuple[int, ...]
Cell = tuple[tuple[int, int], ...]  # first and last index along each axis


@dataclass(frozen=True)
class RefinedGrid:
    """Values on the whole grid, which of them were evaluated, and an estimate of the error of the others.

    The error of a point is three times the largest deviation that was seen within a cell of it, before the evaluation
    that showed it was used.
    """

    values: np.ndarray
    evaluated: np.ndarray
    errors: np.ndarray


def refine(
    shape: tuple[int, ...], tol: float, also: Sequence[Index] = ()
) -> Generator[list[Index], Sequence[float], RefinedGrid]:
    """Yields the points to be evaluated next and is sent their values; `tol` is the error relative to the range.

    One or two axes; the points in `also` are evaluated whatever lies around them. Values that are not finite are never
    interpolated, nor is what lies beside them: there every point is evaluated.
    """
    grid = _Grid(np.full(shape, np.nan), np.zeros(shape, bool))
    ticks = [sorted({*range(0, length, STRIDE), length - 1}) for length in shape]
    cells: list[Cell] = list(product(*(list(pairwise(axis)) or [(0, 0)] for axis in ticks)))
    gaps: dict[Cell, float] = {}  # of closed cells
    lattice: list[Index] = sorted({*product(*ticks), *also})
    grid.record(lattice, (yield lattice))
    guess = grid.guess()
    while cells:
        fresh = sorted({point for cell in cells for point in grid.tests(cell) if not grid.known[point]})
        if fresh:
            grid.record(fresh, (yield fresh))
        opened = []
        for cell in cells:
            gap = max(abs(guess[point] - grid.values[point]) for point in grid.tests(cell))
            if grid.close_enough(cell, gap, tol):
                gaps[cell] = gap
            else:
                opened.append(cell)
        corners = sorted({point for cell in opened for point in _corners(cell) if not grid.known[point]})
        if corners:
            grid.record(corners, (yield corners))
        cells = [part for cell in opened for part in _parts(cell)]
        guess, earlier = grid.guess(), guess
        for cell, gap in list(gaps.items()):  # what was learnt around a closed cell may have changed what is in it
            moved = float(np.abs(guess - earlier)[_inside(cell)].max())
            if not grid.close_enough(cell, moved, tol):
                del gaps[cell]
                cells += _parts(cell)
                corners = [point for point in _corners(cell) if not grid.known[point]]
                if corners:
                    grid.record(corners, (yield corners))
            else:
                gaps[cell] = max(gap, moved)
    return grid.finished(gaps)


@dataclass
class _Grid:
    """What is known so far."""

    values: np.ndarray
    known: np.ndarray

    def record(self, points: Sequence[Index], found: Sequence[float]) -> None:
        for point, value in zip(points, found, strict=True):
            self.values[point], self.known[point] = value, True

    def guess(self) -> np.ndarray:
        """All values, interpolated where they are not known."""
        missing = [tuple(place) for place in np.argwhere(~self.known)]
        guessed = self.values.copy()
        guessed[~self.known] = interpolate(self.values, self.known, missing)
        return guessed

    def tests(self, cell: Cell) -> list[Index]:
        """Where a cell is tested: its centre, and the middle of each of its sides that lies on the grid's border."""
        centre = _centre(cell)
        points = {centre}
        for axis, (ends, length) in enumerate(zip(cell, self.values.shape, strict=True)):
            borders = [end for end in ends if end in (0, length - 1)]
            points |= {(*centre[:axis], end, *centre[axis + 1 :]) for end in borders}
        return sorted(points)

    def close_enough(self, cell: Cell, gap: float, tol: float) -> bool:
        """Whether a deviation within the cell is small enough, and all that is known of it is finite."""
        finite = self.values[np.isfinite(self.values)]
        inside = self.values[_inside(cell)][self.known[_inside(cell)]]
        lowest = float(np.abs(inside).min())
        small = len(finite) > 0 and gap * SAFETY <= tol * np.ptp(finite)
        if small and (finite > 0).all():
            small = gap <= RELATIVE * tol * lowest
        return bool(small and np.isfinite(inside).all())

    def finished(self, gaps: Mapping[Cell, float]) -> RefinedGrid:
        from scipy.ndimage import maximum_filter

        errors = np.zeros(self.values.shape)
        for cell, gap in gaps.items():
            errors[_inside(cell)] = np.maximum(errors[_inside(cell)], gap)
        estimates = maximum_filter(SAFETY * errors, size=STRIDE + 1, mode="nearest")
        return RefinedGrid(self.guess(), self.known, np.where(self.known, 0, estimates))


def interpolate(values: np.ndarray, known: np.ndarray, points: Sequence[Index]) -> np.ndarray:
    """Values at `points` by cubic radial basis functions through the finite known ones; NaN if these are too few."""
    from scipy.interpolate import RBFInterpolator

    axes = [axis for axis, length in enumerate(values.shape) if length > 1]
    use = known & np.isfinite(values)
    places, heights = np.argwhere(use)[:, axes].astype(float), values[use]
    if not len(points) or len(places) < 2 + len(axes):
        return np.full(len(points), np.nan)
    logarithmic = bool((heights > 0).all())
    near = NEIGHBOURS if len(places) > ALL else None
    try:
        function = RBFInterpolator(places, np.log(heights) if logarithmic else heights, kernel="cubic", neighbors=near)
        found: np.ndarray = function(np.array(points, float)[:, axes])
    except np.linalg.LinAlgError:  # those that are near lie all on one line
        return np.full(len(points), np.nan)
    return np.exp(found) if logarithmic else found


def interpolate_linearly(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The grid with what is not known filled in between known neighbours: it overshoots none of them."""
    from scipy.interpolate import LinearNDInterpolator

    axes = [axis for axis, length in enumerate(values.shape) if length > 1]
    filled, places, missing = values.copy(), np.argwhere(known)[:, axes], np.argwhere(~known)[:, axes]
    if len(axes) == 1:
        filled[~known] = np.interp(missing[:, 0], places[:, 0], values[known])
    elif len(missing):
        filled[~known] = LinearNDInterpolator(places, values[known])(missing)
    return filled


def _centre(cell: Cell) -> Index:
    return tuple((first + last) // 2 for first, last in cell)


def _inside(cell: Cell) -> tuple[slice, ...]:
    return tuple(slice(first, last + 1) for first, last in cell)


def _corners(cell: Cell) -> list[Index]:
    """The corners of the cells that a cell is cut into."""
    return list(product(*({first, centre, last} for (first, last), centre in zip(cell, _centre(cell), strict=True))))


def _parts(cell: Cell) -> list[Cell]:
    """The cells that a cell is cut into, but for those without a point inside."""
    halves = [{(first, centre), (centre, last)} for (first, last), centre in zip(cell, _centre(cell), strict=True)]
    return [part for part in product(*halves) if any(last - first > 1 for first, last in part)]
