"""A function on a full grid from evaluations at some of its points, more of them where the function bends.

The grid is divided into cells of 4 x 4 steps. In each round the center of every open cell, and the middle of each side
on the border of the grid, is predicted by interpolation from all evaluated points, and then evaluated. If the
prediction was good enough the cell is closed; otherwise it is divided into four. A closed cell is opened again if new
evaluations around it change the interpolation inside it. If all values are positive, their logarithms are interpolated,
so that a basin has the same relative accuracy as the walls around it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

CELL_STEPS = 4  # of a first cell's side: of 2, 4, 8 and 10 it needed the fewest evaluations for 1 % on five nets
# A cell is closed if its prediction was so many times better than the tolerance: the worst point of a cell is not its
# center, and far from it beside a kink. At 2, one kinked surface in five was wrong by up to 1.8 times the tolerance.
SAFETY_FACTOR = 3
RELATIVE_FACTOR = 5  # an error relative to the value may be so many times the tolerance relative to the range
NEIGHBORS = 60  # evaluated points from which one value is interpolated, if there are more than MAX_JOINT_POINTS
MAX_JOINT_POINTS = 400  # up to so many points, one system of equations for all of them is as fast

GridIndex = tuple[int, ...]
Cell = tuple[tuple[int, int], ...]  # first and last index along each axis


@dataclass(frozen=True)
class RefinedGrid:
    """Values on the whole grid, whether each was evaluated, and an estimate of the error of the interpolated ones.

    The error of a point is three times the largest deviation of a prediction from an evaluation within a cell of it.
    """

    values: np.ndarray
    evaluated: np.ndarray
    errors: np.ndarray


def refine(
    shape: tuple[int, ...], tol: float, also: Sequence[GridIndex] = ()
) -> Generator[list[GridIndex], Sequence[float], RefinedGrid]:
    """Yields the points to be evaluated next and is sent their values; `tol` is the error relative to the range.

    The grid has one or two axes. The points in `also` are always evaluated. Nothing is interpolated beside values that
    are not finite: every point there is evaluated.
    """
    grid = _Grid(np.full(shape, np.nan), np.zeros(shape, bool))
    ticks = [sorted({*range(0, length, CELL_STEPS), length - 1}) for length in shape]
    cells: list[Cell] = list(product(*(list(pairwise(axis)) or [(0, 0)] for axis in ticks)))
    gaps: dict[Cell, float] = {}  # of closed cells
    lattice: list[GridIndex] = sorted({*product(*ticks), *also})
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
        for cell, gap in list(gaps.items()):  # evaluations around a closed cell may have changed it
            moved = float(np.abs(guess - earlier)[_inside(cell)].max())
            if not grid.close_enough(cell, moved, tol):
                del gaps[cell]
                cells += _parts(cell)
                corners = [point for point in _corners(cell) if not grid.known[point]]
                if corners:
                    grid.record(corners, (yield corners))
            else:
                gaps[cell] = max(gap, moved)
    return grid.result(gaps)


@dataclass
class _Grid:
    """The values evaluated so far."""

    values: np.ndarray
    known: np.ndarray

    def record(self, points: Sequence[GridIndex], values: Sequence[float]) -> None:
        """Stores the values of points."""
        for point, value in zip(points, values, strict=True):
            self.values[point], self.known[point] = value, True

    def guess(self) -> np.ndarray:
        """All values, interpolated where they were not evaluated."""
        missing = [tuple(place) for place in np.argwhere(~self.known)]
        guessed = self.values.copy()
        guessed[~self.known] = interpolate(self.values, self.known, missing)
        return guessed

    def tests(self, cell: Cell) -> list[GridIndex]:
        """The points at which a cell is tested: its center, and the middle of each side on the grid's border."""
        center = _center(cell)
        points = {center}
        for axis, (ends, length) in enumerate(zip(cell, self.values.shape, strict=True)):
            borders = [end for end in ends if end in (0, length - 1)]
            points |= {(*center[:axis], end, *center[axis + 1 :]) for end in borders}
        return sorted(points)

    def close_enough(self, cell: Cell, gap: float, tol: float) -> bool:
        """Whether a deviation within the cell is small enough, and all evaluated values of the cell are finite."""
        finite = self.values[np.isfinite(self.values)]
        inside = self.values[_inside(cell)][self.known[_inside(cell)]]
        lowest = float(np.abs(inside).min())
        small = len(finite) > 0 and gap * SAFETY_FACTOR <= tol * np.ptp(finite)
        if small and (finite > 0).all():
            small = gap <= RELATIVE_FACTOR * tol * lowest
        return bool(small and np.isfinite(inside).all())

    def result(self, gaps: Mapping[Cell, float]) -> RefinedGrid:
        """The full grid, with the errors that the gaps of closed cells imply."""
        from scipy.ndimage import maximum_filter

        errors = np.zeros(self.values.shape)
        for cell, gap in gaps.items():
            errors[_inside(cell)] = np.maximum(errors[_inside(cell)], gap)
        estimates = maximum_filter(SAFETY_FACTOR * errors, size=CELL_STEPS + 1, mode="nearest")
        return RefinedGrid(self.guess(), self.known, np.where(self.known, 0, estimates))


def interpolate(values: np.ndarray, known: np.ndarray, points: Sequence[GridIndex]) -> np.ndarray:
    """Values at `points` by cubic radial basis functions through the finite known values; NaN if they are too few."""
    from scipy.interpolate import RBFInterpolator

    axes = [axis for axis, length in enumerate(values.shape) if length > 1]
    use = known & np.isfinite(values)
    places, heights = np.argwhere(use)[:, axes].astype(float), values[use]
    if not len(points) or len(places) < 2 + len(axes):
        return np.full(len(points), np.nan)
    logarithmic = bool((heights > 0).all())
    near = NEIGHBORS if len(places) > MAX_JOINT_POINTS else None
    try:
        function = RBFInterpolator(places, np.log(heights) if logarithmic else heights, kernel="cubic", neighbors=near)
        guessed: np.ndarray = function(np.array(points, float)[:, axes])
    except np.linalg.LinAlgError:  # all neighbors lie on one line
        return np.full(len(points), np.nan)
    return np.exp(guessed) if logarithmic else guessed


def interpolate_linearly(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The grid with unknown values filled in linearly between known neighbors, none of which it overshoots."""
    from scipy.interpolate import LinearNDInterpolator

    axes = [axis for axis, length in enumerate(values.shape) if length > 1]
    filled, places, missing = values.copy(), np.argwhere(known)[:, axes], np.argwhere(~known)[:, axes]
    if len(axes) == 1:
        filled[~known] = np.interp(missing[:, 0], places[:, 0], values[known])
    elif len(missing):
        filled[~known] = LinearNDInterpolator(places, values[known])(missing)
    return filled


def _center(cell: Cell) -> GridIndex:
    return tuple((first + last) // 2 for first, last in cell)


def _inside(cell: Cell) -> tuple[slice, ...]:
    return tuple(slice(first, last + 1) for first, last in cell)


def _corners(cell: Cell) -> list[GridIndex]:
    """The corners of the cells that a cell is divided into."""
    return list(product(*({first, center, last} for (first, last), center in zip(cell, _center(cell), strict=True))))


def _parts(cell: Cell) -> list[Cell]:
    """The cells that a cell is divided into, without those whose grid points are all corners."""
    halves = [{(first, center), (center, last)} for (first, last), center in zip(cell, _center(cell), strict=True)]
    return [part for part in product(*halves) if any(last - first > 1 for first, last in part)]
