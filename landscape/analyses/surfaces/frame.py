"""A plane to be evaluated, with its default extents and the checkpoints that lie on it or near it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from landscape.analyses.surfaces.options import Extent
from landscape.choices import BatchNormMode
from landscape.evaluation.sweep import Plane
from landscape.network.batch_norm import statistic_names
from landscape.objective import Objective


@dataclass(frozen=True)
class Marks:
    """Checkpoints on or near a plane: their names, their projections onto it `(n, axes)`, and their own losses."""

    names: list[str]
    places: np.ndarray
    off_plane: np.ndarray  # ||part outside the plane|| / ||distance from the center||, 0 at the center
    losses: np.ndarray


@dataclass(frozen=True)
class Frame:
    """A plane, or line, with the extent of each of its axes by default, and notes on how it was made.

    With `unit` the other end of a line lies at 1, which is then on the grid. `explained` are the shares of a
    trajectory's variance along the axes.
    """

    plane: Plane
    extents: tuple[Extent, ...]
    unit: bool = False
    marks: Marks | None = None
    explained: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def with_batch_norm(objective: Objective, frame: Frame, mode: BatchNormMode) -> Frame:
    """The frame whose plane recomputes the running statistics of BatchNorm at each point, if the mode says so."""
    if mode != "recompute":
        return frame
    if statistic_names(objective.model):
        return replace(frame, plane=replace(frame.plane, statistics="recompute"))
    if frame.explained:  # recompute is the default of trajectories: nobody asked for it
        return frame
    return replace(frame, notes=(*frame.notes, "there is no BatchNorm with running statistics to recompute"))
