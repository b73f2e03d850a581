"""Lines and planes through other checkpoints: to one or two of them, or the principal components of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from landscape.analyses.surfaces.frame import Frame, Marks, with_batch_norm
from landscape.analyses.surfaces.options import Extent
from landscape.choices import BatchNormMode
from landscape.compute.inner_products import dot, norm
from landscape.errors import UsageError, listing
from landscape.evaluation.other_checkpoints import OtherCheckpoint
from landscape.evaluation.sweep import Plane
from landscape.network.batch_norm import StatisticsInterpolation, statistic_names
from landscape.objective import Objective

LINE_EXTENT = (-0.25, 1.25)  # of a line to the checkpoint at 1: a quarter beyond each end
MARGIN = 0.25  # left around checkpoints, relative to their larger extent
COLLINEARITY_BOUND = 1e-6  # relative: a third checkpoint so near the line of two others spans no plane with them


def checkpoint_frame(objective: Objective, others: Sequence[OtherCheckpoint], mode: BatchNormMode) -> Frame:
    """The line or plane of `span_checkpoints`, with the checkpoints as marks, each with its own loss."""
    frame, places = span_checkpoints(objective, others, mode)
    notes = [*_static_tensor_notes(objective, others, mode), *frame.notes]
    if not all(bool(direction.any()) for direction in frame.plane.directions):  # only a line can have length 0
        notes.append(f"{others[0].name} has the same weights")
    losses = np.array([float(objective.value()), *(other.loss() for other in others)])
    marks = Marks(["(measured)", *(other.name for other in others)], places, np.zeros(len(places)), losses)
    return replace(frame, marks=marks, notes=tuple(notes))


def span_checkpoints(
    objective: Objective, others: Sequence[OtherCheckpoint], mode: BatchNormMode
) -> tuple[Frame, np.ndarray]:
    """The line to one other checkpoint, or the plane through two, and the coordinates of all checkpoints `(n, axes)`.

    Alpha leads to the first other checkpoint, which lies at 1. Beta is orthogonal to alpha and as long, so that
    distances are true (Garipov et al. 2018, section 3). Raises UsageError if three checkpoints lie on one line.
    """
    moves = [other.theta - objective.theta for other in others]
    shares, places = np.eye(1), np.array([[0.0], [1.0]])
    if len(others) == 2:
        first, second = moves
        length = norm(first)
        along = dot(first, second) / length**2 if length else 0.0
        beyond = second - along * first
        rest = norm(beyond)
        if not rest > COLLINEARITY_BOUND * length > 0:
            raise UsageError("the three checkpoints lie on one line", fix="name one other checkpoint, or three apart")
        scale = length / rest
        moves = [first, beyond.mul_(scale)]
        shares = np.array([[1.0, 0.0], [-along * scale, scale]])
        places = np.array([[0.0, 0.0], [1.0, 0.0], [along, 1 / scale]])
    own = _statistics(objective) if mode == "interpolate" else {}
    interpolated = (StatisticsInterpolation(own, [other.statistics() for other in others]), shares) if own else None
    plane = Plane(tuple(moves), interpolated)
    extents = (LINE_EXTENT,) if len(others) == 1 else _extents_around(places)
    return with_batch_norm(objective, Frame(plane, extents, unit=len(others) == 1), mode), places


def trajectory_frame(
    objective: Objective, dimension: int, paths: Sequence[str], read: Callable[[str], OtherCheckpoint]
) -> Frame:
    """The first principal components of the checkpoints of a run, through the measured one (Li et al. 2018, section 7).

    The directions are unit vectors, so that coordinates are distances; the farthest checkpoint along each has a
    positive coordinate. `explained` are shares of the variance about the mean of all checkpoints, including the
    measured one. Raises UsageError if the checkpoints span fewer dimensions.
    """
    moves, losses = [], []
    for path in paths:
        other = read(path)
        moves.append((other.theta - objective.theta).double())
        losses.append(other.loss())
    steps = torch.stack(moves)
    variances, rows = _principal_components(steps, dimension)
    places, lengths = steps @ rows.T, torch.linalg.vector_norm(steps, dim=1)
    sides = torch.where(places.gather(0, places.abs().argmax(dim=0, keepdim=True)) < 0, -1.0, 1.0)
    rows, places = rows * sides.T, places * sides
    outside = torch.linalg.vector_norm(steps - places @ rows, dim=1) / lengths
    off_plane = torch.where(lengths > 0, outside, 0.0).cpu().numpy()
    projections = places.cpu().numpy() + 0.0  # turns -0 into 0
    marks = Marks([path.rpartition("/")[2] for path in paths], projections, off_plane, np.array(losses))
    return Frame(
        Plane(tuple(row.to(objective.theta) for row in rows)),
        _extents_around(np.vstack([projections, np.zeros(dimension)])),
        marks=marks,
        explained=tuple((variances[:dimension] / variances.sum()).tolist()),
    )


def _principal_components(steps: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """All variances of the checkpoints `theta + steps (n, P)` in descending order, and the first unit axes `(d, P)`.

    The measured checkpoint, at 0, is one of them; it is added unless it is among the steps.
    """
    own = [] if any(not bool(step.any()) for step in steps) else [torch.zeros_like(steps[:1])]
    centered = torch.cat([steps, *own])
    centered = centered - centered.mean(dim=0)
    variances, vectors = torch.linalg.eigh(centered @ centered.T)
    variances, vectors = variances.flip(0).clamp_min(0), vectors.flip(1)
    if not bool(variances[dimension - 1] > COLLINEARITY_BOUND**2 * variances[0]) or not bool(variances[0] > 0):
        raise UsageError(
            f"the {len(steps)} checkpoints of the trajectory span no {'line' if dimension == 1 else 'plane'}",
            fix="checkpoints whose weights differ" if dimension == 1 else "more checkpoints, or --dim 1",
        )
    return variances, (vectors[:, :dimension].T @ centered) / variances[:dimension, None].sqrt()


def _extents_around(places: np.ndarray) -> tuple[Extent, ...]:
    """The extents of points `(n, axes)`, with a margin."""
    margin = MARGIN * (places.max(axis=0) - places.min(axis=0)).max()
    return tuple((float(column.min() - margin), float(column.max() + margin)) for column in places.T)


def _statistics(objective: Objective) -> dict[str, Tensor]:
    """The measured model's running statistics of BatchNorm."""
    buffers = dict(objective.model.named_buffers())
    return {name: buffers[name].detach().to(objective.theta) for name in statistic_names(objective.model)}


def _static_tensor_notes(
    objective: Objective, others: Sequence[OtherCheckpoint], mode: BatchNormMode
) -> tuple[str, ...]:
    """A note on tensors that differ between the checkpoints, but do not move along the line."""
    moving = set() if mode == "fixed" else set(_statistics(objective))
    unmoved = sorted({name for other in others for name in other.differing_tensors()} - moving)
    if not unmoved:
        return ()
    return (
        f"only measured parameters move: {listing(unmoved)} stay as they are here, so that the other end is not the "
        "other checkpoint",
    )
