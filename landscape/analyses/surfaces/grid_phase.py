"""The phase of a surface: every point of a grid, or those that an interpolation needs, evaluated and kept."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.analyses.base import Progress, State

if TYPE_CHECKING:
    import numpy as np

    from landscape.evaluation.sweep import Plane, Sweep

TOGETHER = 16  # points between two reports
INTERPOLATED, EVALUATED, NOT_A_NUMBER, INFINITE = range(4)  # what `status` says of a point
Index = tuple[int, ...]


@dataclass(frozen=True)
class GridTask:
    """A plane with the coordinates of its grid, innermost axis first; `tol` if points may be interpolated.

    `before` and `total` place its points among those of the whole measurement; `exact` is the loss at the checkpoint
    itself, which the centre takes over.
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
        return tuple(len(axis) for axis in reversed(self.coordinates))

    @property
    def centre(self) -> Index:
        """The index of the checkpoint itself."""
        from landscape.algorithms.grids.grids import center_indices

        return center_indices(self.coordinates)

    def point(self, index: Index) -> tuple[float, ...]:
        return tuple(float(axis[i]) for axis, i in zip(self.coordinates, reversed(index), strict=True))


@dataclass(frozen=True)
class Grid:
    """Columns `(columns, *shape)`, the loss first, with a status and an estimated error for each point."""

    values: np.ndarray
    status: np.ndarray
    errors: np.ndarray | None

    @property
    def evaluations(self) -> int:
        return int((self.status != INTERPOLATED).sum())


def evaluate_grid(sweep: Sweep, task: GridTask, saved: State) -> Generator[Progress, None, Grid]:
    """Yields after every few points; what was evaluated is kept in the snapshot, NaN and infinity included."""
    import numpy as np

    values = np.array(saved["values"]) if saved else np.full((len(sweep.columns), *task.shape), np.nan)
    done = np.array(saved["done"]) if saved else np.zeros(task.shape, bool)

    def evaluate(wanted: Sequence[Index]) -> Generator[Progress, None, list[float]]:
        missing = [index for index in wanted if not done[index]]
        at_once = max(TOGETHER, sweep.way.points)
        for first in range(0, len(missing), at_once):
            chosen = missing[first : first + at_once]
            found = sweep.evaluate(task.plane, [task.point(index) for index in chosen])
            for index, row in zip(chosen, found, strict=True):
                for column, number in zip(values, row, strict=True):
                    column[index] = number
                done[index] = True
            if task.exact is not None and task.centre in chosen:
                values[0, *task.centre] = task.exact
            count = int(done.sum())
            note = f"{task.name}{count:,} of {done.size:,} points"
            yield Progress(
                task.before + count, task.total, note, lambda: {"values": values.copy(), "done": done.copy()}
            )
        return [float(values[0, *index]) for index in wanted]

    if task.tol is None:
        yield from evaluate([tuple(map(int, index)) for index in np.ndindex(task.shape)])
        return Grid(values, _status(values[0], done), None)
    return (yield from _adaptive(values, done, task, evaluate))


def _adaptive(
    values: np.ndarray, done: np.ndarray, task: GridTask, evaluate: object
) -> Generator[Progress, None, Grid]:
    """Evaluates the centre with its neighbours, and what the refinement asks for, and fills in the rest."""
    import numpy as np

    from landscape.algorithms.grids.refinement import interpolate_linearly, refine

    asking = refine(done.shape, task.tol or 0.0, _around(task.centre, done.shape))
    wanted = next(asking)
    while True:
        found = yield from evaluate(wanted)  # type: ignore[operator]
        try:
            wanted = asking.send(found)
        except StopIteration as end:
            known = end.value
            break
    others = [interpolate_linearly(column, done) for column in values[1:]]
    return Grid(np.stack([known.values, *others]), _status(known.values, done), known.errors)


def _around(centre: Index, shape: tuple[int, ...]) -> list[Index]:
    """The centre and its neighbours along the axes: what is read off there must not be interpolated."""
    found = [centre]
    for axis, length in enumerate(shape):
        near = ((*centre[:axis], centre[axis] + step, *centre[axis + 1 :]) for step in (-1, 1))
        found += [index for index in near if 0 <= index[axis] < length]
    return found


def _status(losses: np.ndarray, done: np.ndarray) -> np.ndarray:
    import numpy as np

    status = np.where(done, EVALUATED, INTERPOLATED)
    status[done & np.isnan(losses)] = NOT_A_NUMBER
    status[done & np.isinf(losses)] = INFINITE
    return status.astype(np.int8)
