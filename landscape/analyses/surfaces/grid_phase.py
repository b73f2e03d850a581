"""The evaluation of a grid: all of its points, or those that an interpolation of the others needs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.algorithms.grids.grids import center_indices
from landscape.algorithms.grids.refinement import interpolate_linearly, refine
from landscape.analyses.base import Progress, State
from landscape.evaluation.sweep import Plane, Sweep

POINTS_PER_REPORT = 16
INTERPOLATED, EVALUATED, NOT_A_NUMBER, INFINITE = range(4)  # values of a point's `status`
Index = tuple[int, ...]
Evaluate = Callable[[Sequence[Index]], Generator[Progress, None, list[float]]]


@dataclass(frozen=True)
class GridTask:
    """A plane with the coordinates of its grid, alpha first; `tol` is given if points may be interpolated.

    `before` and `total` place its points among those of the whole measurement that will probably be evaluated. `exact`
    is the loss at the checkpoint itself, which replaces the value at the center.
    """

    plane: Plane
    coordinates: tuple[np.ndarray, ...]
    tol: float | None
    exact: float | None
    before: int
    total: int
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """`(beta, alpha)` or `(alpha,)`."""
        return tuple(len(axis) for axis in reversed(self.coordinates))

    @property
    def center(self) -> Index:
        """The index of the checkpoint itself."""
        return center_indices(self.coordinates)

    def point(self, index: Index) -> tuple[float, ...]:
        """The coordinates of a point of the grid, alpha first."""
        return tuple(float(axis[i]) for axis, i in zip(self.coordinates, reversed(index), strict=True))


@dataclass(frozen=True)
class Grid:
    """Columns `(columns, *shape)`, the loss first, with a status and an estimated error for each point."""

    values: np.ndarray
    status: np.ndarray
    errors: np.ndarray | None

    @property
    def evaluations(self) -> int:
        """The number of evaluated points."""
        return int((self.status != INTERPOLATED).sum())


def evaluate_grid(sweep: Sweep, task: GridTask, saved: State) -> Generator[Progress, None, Grid]:
    """Evaluates the grid; yields after every few points. Snapshots hold all evaluated points, also NaN and infinity."""
    values = np.array(saved["values"]) if saved else np.full((len(sweep.columns), *task.shape), np.nan)
    done = np.array(saved["done"]) if saved else np.zeros(task.shape, bool)

    def evaluate(indices: Sequence[Index]) -> Generator[Progress, None, list[float]]:
        missing = [index for index in indices if not done[index]]
        size = max(POINTS_PER_REPORT, sweep.settings.points)
        for first in range(0, len(missing), size):
            chunk = missing[first : first + size]
            rows = sweep.evaluate(task.plane, [task.point(index) for index in chunk])
            for index, row in zip(chunk, rows, strict=True):
                for column, number in zip(values, row, strict=True):
                    column[index] = number
                done[index] = True
            if task.exact is not None and task.center in chunk:
                values[0, *task.center] = task.exact
            count = int(done.sum())
            note = f"{task.name}{count:,} of {done.size:,} points"
            reached = task.before + count
            total = max(task.total, reached)  # --adaptive may take more points than are expected
            yield Progress(reached, total, note, lambda: {"values": values.copy(), "done": done.copy()})
        return [float(values[0, *index]) for index in indices]

    if task.tol is None:
        yield from evaluate([tuple(map(int, index)) for index in np.ndindex(task.shape)])
        return Grid(values, _status(values[0], done), None)
    return (yield from _refine_grid(values, done, task, task.tol, evaluate))


def _refine_grid(
    values: np.ndarray, done: np.ndarray, task: GridTask, tol: float, evaluate: Evaluate
) -> Generator[Progress, None, Grid]:
    """Evaluates the center, its neighbors, and the points that the refinement asks for; interpolates the others."""
    refinement = refine(done.shape, tol, _center_and_neighbors(task.center, done.shape))
    indices = next(refinement)
    while True:
        losses = yield from evaluate(indices)
        try:
            indices = refinement.send(losses)
        except StopIteration as end:
            refined = end.value
            break
    others = [interpolate_linearly(column, done) for column in values[1:]]
    return Grid(np.stack([refined.values, *others]), _status(refined.values, done), refined.errors)


def _center_and_neighbors(center: Index, shape: tuple[int, ...]) -> list[Index]:
    """The center and its neighbors along the axes: the second difference needs evaluated values there."""
    indices = [center]
    for axis, length in enumerate(shape):
        neighbors = ((*center[:axis], center[axis] + step, *center[axis + 1 :]) for step in (-1, 1))
        indices += [index for index in neighbors if 0 <= index[axis] < length]
    return indices


def _status(losses: np.ndarray, done: np.ndarray) -> np.ndarray:
    """The status of each point, from its loss and whether it was evaluated."""
    status = np.where(done, EVALUATED, INTERPOLATED)
    status[done & np.isnan(losses)] = NOT_A_NUMBER
    status[done & np.isinf(losses)] = INFINITE
    return status.astype(np.int8)
