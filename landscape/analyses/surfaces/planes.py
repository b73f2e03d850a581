"""The directions of a surface: random, of the Hessian, of the gradient, between checkpoints, or of a trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from landscape.choices import BatchNormMode
from landscape.errors import UsageError, listing

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.evaluation.directions import Treatment
    from landscape.evaluation.other_checkpoints import OtherCheckpoint
    from landscape.evaluation.sweep import Plane
    from landscape.objective import Objective

RANDOM_REACH = 1.0  # of coordinates by default: the weights are then as large as what is added to them
LINE_REACH = (-0.25, 1.25)  # a line between two checkpoints, with a quarter beyond each
MARGIN = 0.25  # of the extent of the checkpoints, left around them
FLAT = 1e-6  # relative: a third checkpoint so near the line of two others spans no plane

Extent = tuple[float, float]


@dataclass(frozen=True)
class Marks:
    """Checkpoints on or near a plane: where they project to `(n, axes)`, how far off it they lie, and their loss."""

    names: list[str]
    places: np.ndarray
    off_plane: np.ndarray  # ||part outside the plane|| / ||distance from the centre||, 0 at the centre
    losses: np.ndarray


@dataclass(frozen=True)
class Frame:
    """A plane with the extents that it is shown in by default, and what is known of it.

    `unit`: the other end of a line lies at 1, which is then on the grid.
    """

    plane: Plane
    extents: tuple[Extent, ...]
    unit: bool = False
    marks: Marks | None = None
    explained: tuple[float, ...] = field(default=())


def random_frame(objective: Objective, dim: int, done: Sequence[Treatment], seed: int, number: int) -> Frame:
    """Plane `number` of those along Gaussian directions."""
    from landscape.evaluation import directions
    from landscape.evaluation.sweep import Plane

    drawn = tuple(directions.gaussian_direction(objective, done, seed, "surface", number, axis) for axis in range(dim))
    return Frame(Plane(drawn), ((-RANDOM_REACH, RANDOM_REACH),) * dim)


def gradient_frame(objective: Objective, dim: int, done: Sequence[Treatment], seed: int) -> Frame:
    """The unit vector along the gradient; as second axis a random unit vector orthogonal to it."""
    import torch

    from landscape import seeds
    from landscape.evaluation import directions
    from landscape.evaluation.sweep import Plane

    slope = objective.gradient()
    if not bool(slope.any()):
        raise UsageError("there is no direction: the gradient is zero", fix="--axes random or eigen")
    rows = [slope / torch.linalg.vector_norm(slope)]
    if dim == 2:
        other = seeds.normal(objective.space.size, objective.theta, seed, "surface", "beside")
        other -= torch.dot(rows[0], other) * rows[0]
        if len(other) == 1:
            raise UsageError("one parameter has no second direction", fix="--dim 1")
        rows.append(other / torch.linalg.vector_norm(other))
    treated = tuple(directions.apply_treatments(row, objective, done) for row in rows)
    return Frame(Plane(treated), ((-RANDOM_REACH, RANDOM_REACH),) * dim)


def eigenvector_frame(objective: Objective, vectors: np.ndarray, done: Sequence[Treatment]) -> Frame:
    """The unit eigenvectors `(P, axes)`, largest eigenvalue first."""
    import torch

    from landscape.evaluation import directions
    from landscape.evaluation.sweep import Plane

    rows = [torch.from_numpy(column.copy()).to(objective.theta) for column in vectors.T]
    treated = tuple(directions.apply_treatments(row, objective, done) for row in rows)
    return Frame(Plane(treated), ((-RANDOM_REACH, RANDOM_REACH),) * len(rows))


def checkpoint_frame(objective: Objective, others: Sequence[OtherCheckpoint], mode: BatchNormMode) -> Frame:
    """The line or plane of `spanned` with the checkpoints marked on it, each with its own loss."""
    import numpy as np

    _say_of_buffers(objective, others, mode)
    frame, places = span_checkpoints(objective, others, mode)
    if not all(bool(direction.any()) for direction in frame.plane.directions):  # a plane's have a length
        objective.notes.append(f"{others[0].name} has the same weights")
    losses = np.array([float(objective.value()), *(other.loss() for other in others)])
    marks = Marks(["(measured)", *(other.name for other in others)], places, np.zeros(len(places)), losses)
    return replace(frame, marks=marks)


def span_checkpoints(
    objective: Objective, others: Sequence[OtherCheckpoint], mode: BatchNormMode
) -> tuple[Frame, np.ndarray]:
    """The line to one other checkpoint, which lies at 1, or the plane through two; and where they all lie `(n, axes)`.

    In the plane alpha leads to the first one, at 1, and beta is orthogonal to it and as long (Garipov et al. 2018,
    section 3): distances are true.
    """
    import numpy as np
    import torch

    from landscape.evaluation.sweep import Plane
    from landscape.network.batch_norm import StatisticsInterpolation

    moves = [other.theta - objective.theta for other in others]
    shares, places = np.eye(1), np.array([[0.0], [1.0]])
    if len(others) == 2:
        first, second = moves
        length = float(torch.linalg.vector_norm(first, dtype=torch.float64))
        along = float(torch.sum(first.double() * second)) / length**2 if length else 0.0
        beyond = second - along * first
        rest = float(torch.linalg.vector_norm(beyond, dtype=torch.float64))
        if not rest > FLAT * length > 0:
            raise UsageError("the three checkpoints lie on one line", fix="name one other checkpoint, or three apart")
        scale = length / rest
        moves = [first, beyond.mul_(scale)]
        shares = np.array([[1.0, 0.0], [-along * scale, scale]])
        places = np.array([[0.0, 0.0], [1.0, 0.0], [along, 1 / scale]])
    own = _statistics(objective) if mode == "interpolate" else {}
    interpolated = (StatisticsInterpolation(own, [other.statistics() for other in others]), shares) if own else None
    plane = Plane(tuple(moves), interpolated)
    extents = (LINE_REACH,) if len(others) == 1 else _around(places)
    return recompute_statistics(objective, Frame(plane, extents, unit=len(others) == 1), mode), places


def recompute_statistics(objective: Objective, frame: Frame, mode: BatchNormMode) -> Frame:
    """The frame with the running statistics of BatchNorm computed anew at each point, if asked and if there are any."""
    from landscape.network.batch_norm import statistic_names

    if mode != "recompute":
        return frame
    if not statistic_names(objective.model):
        if not frame.explained:  # where it is the default
            objective.notes.append("there is no BatchNorm with running statistics to recompute")
        return frame
    return replace(frame, plane=replace(frame.plane, statistics="recompute"))


def trajectory_frame(
    objective: Objective, dim: int, paths: Sequence[str], read: Callable[[str], OtherCheckpoint]
) -> Frame:
    """The first principal components of the checkpoints of a run, through the measured one (Li et al. 2018, section 7).

    Unit vectors, so that coordinates are distances; the farthest checkpoint along each lies on its positive side.
    `explained` are the shares of the variance about the mean of all checkpoints, the measured one among them.
    """
    import numpy as np
    import torch

    from landscape.evaluation.sweep import Plane

    moves, losses = [], []
    for path in paths:
        other = read(path)
        moves.append((other.theta - objective.theta).double())
        losses.append(other.loss())
    every = torch.stack(moves)
    own = [] if any(not bool(move.any()) for move in moves) else [torch.zeros_like(every[:1])]
    centred = torch.cat([every, *own])
    centred = centred - centred.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    if not bool(values[dim - 1] > FLAT**2 * values[0]) or not bool(values[0] > 0):
        raise UsageError(
            f"the {len(paths)} checkpoints of the trajectory span no {'line' if dim == 1 else 'plane'}",
            fix="checkpoints whose weights differ" if dim == 1 else "more checkpoints, or --dim 1",
        )
    rows = (vectors[:, :dim].T @ centred) / values[:dim, None].sqrt()
    places, lengths = every @ rows.T, torch.linalg.vector_norm(every, dim=1)
    sides = torch.where(places.gather(0, places.abs().argmax(dim=0, keepdim=True)) < 0, -1.0, 1.0)
    rows, places = rows * sides.T, places * sides
    off = torch.linalg.vector_norm(every - places @ rows, dim=1) / lengths
    away = torch.where(lengths > 0, off, 0.0).cpu().numpy()
    spots = places.cpu().numpy() + 0.0  # no -0
    marks = Marks([path.rpartition("/")[2] for path in paths], spots, away, np.array(losses))
    directions = tuple(row.to(objective.theta) for row in rows)
    explained = tuple((values[:dim] / values.sum()).tolist())
    return Frame(Plane(directions), _around(np.vstack([spots, np.zeros(dim)])), marks=marks, explained=explained)


def _around(places: np.ndarray) -> tuple[Extent, ...]:
    """The extents of points `(n, axes)`, with a margin."""
    margin = MARGIN * (places.max(axis=0) - places.min(axis=0)).max()
    return tuple((float(column.min() - margin), float(column.max() + margin)) for column in places.T)


def _statistics(objective: Objective) -> dict[str, Tensor]:
    """The measured model's running statistics of BatchNorm."""
    from landscape.network.batch_norm import statistic_names

    buffers = dict(objective.model.named_buffers())
    return {name: buffers[name].detach().to(objective.theta) for name in statistic_names(objective.model)}


def _say_of_buffers(objective: Objective, others: Sequence[OtherCheckpoint], mode: BatchNormMode) -> None:
    """That what differs beside the parameters does not move along."""
    moving = set() if mode == "fixed" else set(_statistics(objective))
    left = sorted({name for other in others for name in other.differing_tensors()} - moving)
    if left:
        objective.notes.append(
            f"only measured parameters move: {listing(left)} stay as they are here, so that the other end is not the "
            "other checkpoint"
        )
