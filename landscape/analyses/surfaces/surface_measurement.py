"""The measurement of a surface: its planes are made and evaluated one by one, and summarized together."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.grids.grids import grid_coordinates
from landscape.algorithms.grids.shape import barrier
from landscape.algorithms.lanczos.symmetry import product_if_symmetric
from landscape.analyses.base import Plan, Progress, State
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.rounding import smallest_clear_rise
from landscape.analyses.surfaces import summary
from landscape.analyses.surfaces.axes import make_frame, read_others
from landscape.analyses.surfaces.checkpoint_planes import span_checkpoints
from landscape.analyses.surfaces.direction_tables import mark_columns, treatment_columns, treatment_notes
from landscape.analyses.surfaces.eigenvectors import compute_eigenvectors
from landscape.analyses.surfaces.frame import Frame
from landscape.analyses.surfaces.grid_phase import GridTask, evaluate_grid
from landscape.analyses.surfaces.options import SurfaceSettings
from landscape.analyses.surfaces.plane_view import PlaneView, view_plane
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.analyses.surfaces.surface import Surface
from landscape.compute.budget import is_large
from landscape.compute.inner_products import dot, norm
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.evaluation import directions
from landscape.evaluation.directions import Treatment
from landscape.evaluation.metrics import as_metric
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.slopes import curvature_along
from landscape.evaluation.sweep import Plane, Sweep
from landscape.objective import Objective
from landscape.objective.micro_batch import seconds_per_gradient
from landscape.operators import HessianOperator
from landscape.operators.pass_costs import FORWARD_SHARE, gradient_memory, product_memory

MAX_ROUGHNESS = 0.1  # relative error of a curvature from slopes above which it counts as unknown
# Of the points that --adaptive evaluates of a line and of a plane: 0.16 to 0.29 of planes of the sample nets, and on a
# line half of them and more. It is for plans alone.
EXPECTED_SHARES = {1: 0.6, 2: 0.25}
MIN_POINTS_FOR_TRIAL = 200  # a trial takes the time of some twenty passes


@dataclass(frozen=True)
class SurfaceRun:
    """The values that all planes of one measurement share."""

    analysis: Surface
    objective: Objective
    treatments: tuple[Treatment, ...]
    vectors: np.ndarray | None  # (P, axes), with `--axes eigen`
    sweep: Sweep
    phases: Phases
    center_loss: float
    rounding: float


@dataclass(frozen=True)
class EvaluatedPlane:
    """A plane's view, its frame without the directions, which are large, and the notes of its evaluation."""

    frame: Frame
    view: PlaneView
    notes: tuple[str, ...]


def measure(
    analysis: Surface, objective: Objective, resume: State | None = None
) -> Generator[Progress, None, SurfaceResult]:
    """Measures all planes; yields after each product for eigenvectors and after every few points."""
    settings, phases, vectors = analysis.settings, Phases(resume), None
    notes: tuple[str, ...] = ()
    treatments = directions.treatments(objective, settings.normalize, settings.ignore)
    if settings.axes == "eigen":
        vectors, notes = yield from phases.run(
            "eigen", partial(compute_eigenvectors, objective, settings.dimension, analysis.seed)
        )
    sweep = Sweep(objective, None if analysis.metric is None else as_metric(analysis.metric))
    center = float(objective.value())
    rounding = smallest_clear_rise(objective, lambda theta: float(objective.value(theta)), center, analysis.seed)
    run = SurfaceRun(analysis, objective, treatments, vectors, sweep, phases, center, rounding)
    evaluated = []
    for number in range(settings.seeds):
        evaluated.append((yield from _evaluate_plane(run, number)))
    first, views = evaluated[0], [plane.view for plane in evaluated]
    barriers, barrier_notes = yield from _measure_barriers(run, first)
    is_scaled = settings.axes == "random" or settings.normalize != "none"
    return SurfaceResult(
        **summary.grid_columns(views, sweep.columns),
        **barriers,
        **(treatment_columns(treatments, objective) if is_scaled else {}),
        **summary.curvature_columns(views),
        **summary.roughness_columns(views),
        **summary.basin_columns(views, settings.level),
        **mark_columns(first.frame),
        seed=np.arange(settings.seeds) if settings.seeds > 1 else None,
        rounding=rounding,
        centre_loss=float(views[0].losses[views[0].center]),
        evaluations=sum(view.grid.evaluations for view in views),
        points=sum(view.losses.size for view in views),
        gradient_norm=objective.reference.gradient_norm,
        parameters=objective.space.size,
        samples=objective.batches.samples,
        notes=(
            *notes,
            *dict.fromkeys(note for plane in evaluated for note in plane.notes),
            *barrier_notes,
            *(treatment_notes(treatments, objective) if is_scaled else ()),
        ),
    )


def plan(analysis: Surface, objective: Objective) -> Plan:
    """The expected cost, from the time of one gradient."""
    settings = analysis.settings
    dimension, counts = settings.dimension, settings.counts
    points = settings.seeds * math.prod(counts if len(counts) == dimension else counts * dimension)
    evaluated = _expected_points(analysis, dimension, points)
    seconds = FORWARD_SHARE * seconds_per_gradient(objective)
    large = is_large(objective.space.size)
    curvature = gradient_memory(objective) if large else product_memory(objective, "hessian")
    memory = {"vectors": (dimension + 1) * objective.theta.nbytes, **curvature}
    return Plan(
        bytes=sum(memory.values()),
        products=dimension * settings.seeds,
        seconds=seconds * evaluated,
        facts={
            "points": _describe_points(evaluated, points),
            "pass": f"about {seconds:.3g} s, before a trial that looks for a faster way",
        },
        memory=memory,
        phases={"plane": seconds * evaluated},
    )


def _expected_points(analysis: Surface, dimension: int, points: int) -> int:
    """How many of the points are evaluated: all of them, or with --adaptive as many as usually are."""
    return max(1, round(EXPECTED_SHARES[dimension] * points)) if analysis.adaptive else points


def _describe_points(evaluated: int, points: int) -> str:
    """The points of all grids, and how many of them --adaptive is expected to evaluate."""
    if evaluated == points:
        return f"{points:,}"
    return f"about {evaluated:,} of {points:,}: --adaptive interpolates where the surface is smooth"


def _evaluate_plane(run: SurfaceRun, number: int) -> Generator[Progress, None, EvaluatedPlane]:
    """Makes and evaluates one plane, in phases of its own; before the first one, the passes are chosen."""
    frame = make_frame(run.analysis, run.objective, run.treatments, run.vectors, number)
    coordinates = _coordinates(run.analysis.settings, frame)
    task = _task(run, frame.plane, coordinates, number)
    notes = frame.notes
    if not number:
        yield from run.phases.run("trial", partial(_choose_passes, run, task))
        notes = (*notes, f"passes over the data: {run.sweep.settings}")
    grid = yield from run.phases.run(f"plane {number}", partial(evaluate_grid, run.sweep, task))
    hessian, error = yield from run.phases.run(f"products {number}", partial(_curvatures, run, frame.plane))
    view = view_plane(coordinates, grid, hessian, frame.plane.directions, run.rounding)
    notes = (*notes, f"d'Hd is not known: {error}") if error else notes
    return EvaluatedPlane(replace(frame, plane=replace(frame.plane, directions=())), view, notes)


def _coordinates(settings: SurfaceSettings, frame: Frame) -> tuple[np.ndarray, ...]:
    """The coordinates along each axis, alpha first; the checkpoint lies on the grid, and so does the end of a line."""
    dimension = len(frame.plane.directions)
    counts, ranges = settings.counts, settings.ranges or frame.extents
    if dimension < max(len(counts), len(ranges)):
        raise UsageError("a line has one axis, and --grid or --range name two", fix="--grid 51")
    counts, ranges = counts * (dimension // len(counts)), ranges * (dimension // len(ranges))
    return tuple(
        grid_coordinates(count, low, high, unit=frame.unit and high >= 1)
        for count, (low, high) in zip(counts, ranges, strict=True)
    )


def _task(run: SurfaceRun, plane: Plane, coordinates: tuple[np.ndarray, ...], number: int) -> GridTask:
    analysis, settings = run.analysis, run.analysis.settings
    size = _expected_points(analysis, len(coordinates), math.prod(len(axis) for axis in coordinates))
    return GridTask(
        plane=plane,
        coordinates=coordinates,
        tol=analysis.tol if analysis.adaptive else None,
        exact=None if plane.statistics == "recompute" else run.center_loss,
        before=number * size,
        total=(settings.seeds + settings.align) * size,
        name=f"plane {number + 1} of {settings.seeds}, " if settings.seeds > 1 else "",
    )


def _choose_passes(run: SurfaceRun, task: GridTask, saved: State) -> Generator[Progress, None, None]:
    """Chooses how passes are made, by a timed trial if there are many points; a resumed run keeps its choice."""
    sweep = run.sweep
    if saved:
        sweep.use_settings(PassSettings.from_array(saved["way"]))
    elif run.analysis.trial and _all_points(run, task) >= MIN_POINTS_FOR_TRIAL:
        sweep.choose_settings(task.plane)
        chosen = sweep.settings.to_array()
        yield Progress(0, task.total, f"trial: {sweep.settings}", lambda: {"way": chosen})


def _all_points(run: SurfaceRun, task: GridTask) -> int:
    """The points of all planes and lines, evaluated or not."""
    return (run.analysis.settings.seeds + run.analysis.settings.align) * math.prod(task.shape)


def _curvatures(run: SurfaceRun, plane: Plane, saved: State) -> Generator[Progress, None, tuple[np.ndarray, str]]:
    """d'Hd for each direction, and why it is unknown (NaN): the model may have no second derivatives.

    NaN without a reason where the statistics of BatchNorm change along the directions.
    """
    if saved:
        return np.array(saved["hessian"]), ""
    hessian, error = np.full(len(plane.directions), np.nan), ""
    if plane.statistics is not None:
        return hessian, error
    try:
        for axis, direction in enumerate(plane.directions):
            hessian[axis], rough = _curvature(run, direction)
            error = error or rough
    except (TaskError, NumericalError) as failure:
        error = failure.what
    yield Progress(0, 1, "curvature along the axes", lambda: {"hessian": hessian})
    return hessian, error


def _curvature(run: SurfaceRun, direction: Tensor) -> tuple[float, str]:
    """d'Hd, or NaN and why it is not known; of large models from slopes, since a product takes six more vectors."""
    objective = run.objective
    if is_large(objective.space.size):
        value, rough = curvature_along(objective, direction, run.sweep.copy.vector)
        if rough > MAX_ROUGHNESS * abs(value):
            return math.nan, f"differences of slopes give {value:.3g} +- {rough:.2g}"
        return value, ""
    length = norm(direction)
    unit = direction / (length or 1.0)
    image = product_if_symmetric(HessianOperator(objective), unit, 0)
    return dot(unit, image) * length**2, ""


def _measure_barriers(
    run: SurfaceRun, plane: EvaluatedPlane
) -> Generator[Progress, None, tuple[dict[str, Any], tuple[str, ...]]]:
    """The barrier between two checkpoints, with `--align` also the one without it; and notes where there is none."""
    alpha, settings = plane.view.coordinates[0], run.analysis.settings
    if not plane.frame.unit:
        return {}, ()
    if not bool((alpha == 1).any()):
        return {}, ("the range ends before the other checkpoint, at 1: there is no barrier",)
    if not bool(((alpha > 0) & (alpha < 1)).any()):
        return {}, ("no point lies between the checkpoints: a larger --grid shows the barrier",)
    columns: dict[str, Any] = {"barrier": barrier(plane.view.losses, alpha)}
    if settings.align:
        plain, _ = span_checkpoints(run.objective, read_others(settings, run.objective), settings.batch_norm)
        task = replace(_task(run, plain.plane, (alpha,), 1), name="without --align, ")
        line = (yield from run.phases.run("unaligned", partial(evaluate_grid, run.sweep, task))).values[0]
        columns |= {"unaligned_loss": line, "unaligned_barrier": barrier(line, alpha)}
    return columns, ()
