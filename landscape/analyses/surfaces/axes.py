"""The axes of a surface: the plane that its settings describe, and the checkpoints that they name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from landscape.analyses.surfaces import planes
from landscape.analyses.surfaces.aligned_checkpoint import align
from landscape.analyses.surfaces.checkpoint_planes import checkpoint_frame, trajectory_frame
from landscape.analyses.surfaces.frame import Frame, with_batch_norm
from landscape.analyses.surfaces.options import SurfaceSettings
from landscape.analyses.surfaces.surface import Surface
from landscape.errors import UsageError
from landscape.evaluation.directions import Treatment
from landscape.evaluation.other_checkpoints import OtherCheckpoint, find_trajectory, other_checkpoint
from landscape.objective import Objective


def other_digests(settings: SurfaceSettings, objective: Objective) -> list[str]:
    """Digests of the other checkpoints, which decide the result: their paths do not."""
    if settings.trajectory is not None:
        flag, named = "--trajectory", find_trajectory(settings.trajectory).checkpoints
    else:
        flag, named = "--towards", settings.towards
    return [other_checkpoint(objective, path, flag).digest for path in named]


def make_frame(
    analysis: Surface,
    objective: Objective,
    treatments: tuple[Treatment, ...],
    vectors: np.ndarray | None = None,
    number: int = 0,
) -> Frame:
    """Plane `number` along the axes of the analysis; raises UsageError where the axes need checkpoints not named."""
    settings = analysis.settings
    if settings.axes == "checkpoints":
        others = read_others(settings, objective)
        aligned = [align(other) for other in others] if settings.align else [(other, "") for other in others]
        frame = checkpoint_frame(objective, [other for other, _ in aligned], settings.batch_norm)
        return replace(frame, notes=(*(note for _, note in aligned if note), *frame.notes))
    if settings.axes == "trajectory":
        if settings.trajectory is None:
            raise UsageError("--axes trajectory needs the checkpoints of a run", fix="--trajectory FOLDER")
        trajectory = find_trajectory(settings.trajectory)
        read = partial(other_checkpoint, objective, flag="--trajectory")
        frame = trajectory_frame(objective, settings.dimension, trajectory.checkpoints, read)
        frame = replace(frame, notes=(trajectory.note,) if trajectory.note else ())
    elif settings.axes == "gradient":
        frame = planes.gradient_frame(objective, settings.dimension, treatments, analysis.seed)
    elif vectors is not None:
        frame = planes.eigenvector_frame(objective, vectors, treatments)
    else:
        frame = planes.random_frame(objective, settings.dimension, treatments, analysis.seed, number)
    return with_batch_norm(objective, frame, settings.batch_norm)


def read_others(settings: SurfaceSettings, objective: Objective) -> list[OtherCheckpoint]:
    """The checkpoints of `--towards`; raises UsageError if there are none."""
    if not settings.towards:
        fix = "landscape surface A B --axes checkpoints, or --towards B"
        raise UsageError("--axes checkpoints leads to others, and none is named", fix=fix)
    return [other_checkpoint(objective, path, "--towards") for path in settings.towards]
