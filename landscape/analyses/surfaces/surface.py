"""Loss and accuracy on a line or plane through the checkpoint, and what the shape comes to in numbers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses.base import Analysis, Plan, Progress, Result, State
from landscape.analyses.shared.phases import Phases
from landscape.analyses.shared.rounding import rounding_floor
from landscape.analyses.surfaces import options, planes
from landscape.analyses.surfaces import summary as views
from landscape.analyses.surfaces.alignment import align
from landscape.analyses.surfaces.eigenvectors import compute_eigenvectors
from landscape.analyses.surfaces.grid_phase import GridTask, evaluate_grid
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.analyses.surfaces.summary import PlaneView
from landscape.choices import BatchNormMode, Normalize
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.fields import option

if TYPE_CHECKING:
    import numpy as np

    from landscape.evaluation.directions import Treatment
    from landscape.evaluation.other_checkpoints import OtherCheckpoint, Trajectory
    from landscape.evaluation.sweep import Plane, Sweep
    from landscape.losses.protocol import Loss
    from landscape.objective import Objective
    from landscape.storage.read import StoredResult

AxesKind = Literal["random", "eigen", "gradient", "checkpoints", "trajectory"]
WORTH_A_TRIAL = 200  # points from which a trial of some twenty passes pays
IGNORED = ("bias", "norm", "position")  # by random directions (Li et al. 2018, section 4, for the first two)


def directions(axes: str, scale: str) -> str:
    """Along what a surface was measured, for its title: `random directions by filter`."""
    scaled = "" if scale == "none" else f" by {scale}"
    kinds = {"checkpoints": "between checkpoints", "gradient": "along the gradient", "trajectory": "along a trajectory"}
    return kinds.get(axes, f"{axes} directions") + scaled


@dataclass(frozen=True)
class Surface(Analysis):
    """Loss surfaces along filter-normalised random directions (Li et al. 2018), eigenvectors, the gradient, between
    checkpoints (Goodfellow et al. 2015; Garipov et al. 2018), and along a trajectory's principal components."""

    name: ClassVar[str] = "surface"
    summary: ClassVar[str] = "Loss and accuracy on a line or plane through the checkpoint."
    result: ClassVar[type[Result]] = SurfaceResult

    grid: str = option("51", help="Points along each axis: 51, or 51x31 (alpha x beta).")
    range: str | None = option(
        None,
        help="Range of the coordinates, met to within a step: 1 (from -1 to 1), -0.5:1.5, or one for each axis, "
        "-1:1,-2:2.",
    )
    axes: AxesKind | None = option(
        None,
        title=lambda stored: directions(stored["axes"], stored["normalise"]),
        help="Directions; checkpoints leads to the others that are named. Default random, or what else is given.",
    )
    dim: int | None = option(None, help="1 for a line, 2 for a plane; default 2, for the gradient 1.", min=1, max=2)
    towards: tuple[str, ...] = option(
        (), kind="path", help="OtherCheckpoint checkpoint: one gives a line, two a plane. Repeatable.", identity=False
    )
    trajectory: str | None = option(None, kind="path", help="Folder with the checkpoints of a run.", identity=False)
    normalise: Normalize | None = option(
        None, help="Scale directions to the weights by filter, layer, tensor, or not; default filter for random ones."
    )
    ignore: tuple[str, ...] = option(
        (),
        help="Leave bias, norm, position or a glob out of directions, joined by commas; none: nothing. Default, for "
        "random ones: bias,norm,position.",
    )
    seeds: int = option(
        1, help="Planes, or lines, along as many random directions, with their spread.", min=1, max=1000
    )
    align: bool = option(False, help="Permute the other checkpoint's hidden units to lie next to this one's.")
    batch_norm: BatchNormMode | None = option(
        None,
        help="Running statistics: fixed, interpolate (between checkpoints), recompute at each point. Default fixed, "
        "between checkpoints interpolate, on a trajectory recompute.",
    )
    metric: str | None = option(
        None,
        kind="reference",
        help="Also measure pkg.mod:function(output, target), a batch's mean or one value for each sample.",
    )
    adaptive: bool = option(False, help="Evaluate only where the surface bends, and interpolate the rest.")
    tol: float = option(0.01, help="Error that --adaptive aims at, relative to the range.", min=1e-6, max=1)
    level: tuple[float, ...] = option(
        (), help="Loss at which the basin is measured; several give a table. Default 2 and 10 times the centre's."
    )
    trial: bool = option(
        True,
        help="Look for the fastest way to make passes first; --no-trial: the data's own batches, and so the same "
        "last bits each time.",
    )
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def __post_init__(self) -> None:
        self._set("grid", options.grid_text(self.grid))
        self._set("range", None if self.range is None else options.range_text(self.range))
        self._set("towards", tuple(str(one) if isinstance(one, Path) else one for one in _several(self.towards)))
        self._set("trajectory", None if self.trajectory is None else str(self.trajectory))
        self._set("ignore", tuple(word for part in _several(self.ignore) for word in part.split(",") if word))
        self._set("level", options.parse_levels(_several(self.level)))
        if self.axes is None:
            implied = "checkpoints" if self.towards else "trajectory" if self.trajectory else "random"
            self._set("axes", implied)
        drawn = self.axes == "random"
        defaults = {
            "normalise": "filter" if drawn else "none",
            "ignore": IGNORED if drawn else ("none",),
            "batch_norm": {"checkpoints": "interpolate", "trajectory": "recompute"}.get(str(self.axes), "fixed"),
        }
        for name, value in defaults.items():
            self._set(name, getattr(self, name) or value)
        super().__post_init__()
        self._require_consistent()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _require_consistent(self) -> None:
        """Raises UsageError for options that contradict each other."""
        pairs = options.parse_grid(self.grid)
        ranges = options.parse_range(self.range) if self.range is not None else ()
        given = self.axes in ("checkpoints", "trajectory")
        contradictions = {
            "--towards leads between checkpoints": bool(self.towards) and self.axes != "checkpoints",
            "--trajectory has axes of its own": bool(self.trajectory) and self.axes != "trajectory",
            "--dim 1 has one axis, and --grid or --range name two": self.dim == 1 and 2 in (len(pairs), len(ranges)),
            "between checkpoints the others tell the dimension: --dim": self.axes == "checkpoints" and bool(self.dim),
            "checkpoints are where they are: --normalise or --ignore would move them": given
            and (self.normalise != "none" or self.ignore != ("none",)),
            "--seeds draws random directions": self.seeds > 1 and self.axes != "random",
            "--align brings other checkpoints nearer": self.align and self.axes != "checkpoints",
            "--batch-norm interpolate needs checkpoints to lie between": self.batch_norm == "interpolate"
            and self.axes != "checkpoints",
            "--towards names one checkpoint, or two": len(self.towards) > 2,
        }
        remedies = {"--align": "--axes checkpoints, or --towards B", "--dim": "--grid 51, one --range, or --dim 2"}
        for contradiction, holds in contradictions.items():
            if holds:
                remedy = next((fix for flag, fix in remedies.items() if contradiction.startswith(flag)), "")
                other = f"leave it out, of settings too, or choose other --axes than {self.axes}"
                raise UsageError(contradiction, fix=remedy or other)

    def split_paths(self, paths: Sequence[Path]) -> tuple[list[Path], Analysis]:
        if self.axes != "checkpoints" or self.towards or len(paths) < 2:
            return super().split_paths(paths)
        return [paths[0]], replace(self, towards=tuple(str(path) for path in paths[1:]))

    def identity(self) -> dict[str, Any]:
        metric: Any = self.metric
        name = getattr(metric, "__qualname__", type(metric).__qualname__) if callable(metric) else metric
        return {**super().identity(), "metric": name}

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        from landscape.evaluation.other_checkpoints import other_checkpoint

        flag = "--trajectory" if self.trajectory else "--towards"
        named = self._trajectory().checkpoints if self.trajectory else self.towards
        return {"others": [other_checkpoint(objective, one, flag).digest for one in named]} if named else {}

    def warm_start(self, objective: Objective, stored: Mapping[str, StoredResult], output: Path) -> State | None:
        from landscape.analyses.surfaces.eigenvectors import load_stored_eigenvectors

        if self.axes != "eigen":
            return None
        vectors = load_stored_eigenvectors(objective, stored, output, self._dim)
        return None if vectors is None else {"eigen.vectors": vectors}

    def plan(self, objective: Objective) -> Plan:
        import math
        import time

        from landscape.evaluation.sweep import Plane, Sweep

        sweep, nowhere = Sweep(objective), Plane((objective.theta,) * self._dim)
        counts = options.parse_grid(self.grid)
        points = self.seeds * math.prod(counts if len(counts) == self._dim else counts * self._dim)
        sweep.evaluate(nowhere, [(0.0,) * self._dim])
        began = time.perf_counter()
        sweep.evaluate(nowhere, [(0.0,) * self._dim])
        seconds = time.perf_counter() - began
        return Plan(
            bytes=(self._dim + 1) * objective.theta.nbytes,
            products=self._dim * self.seeds,
            seconds=seconds * points,
            facts={"points": f"{points:,}", "pass": f"{seconds:.3g} s, before the trial that looks for a faster way"},
        )

    # -- measuring -----------------------------------------------------------------------------------------------

    def measure(self, objective: Objective, resume: State | None = None) -> Generator[Progress, None, SurfaceResult]:
        from landscape.evaluation.sweep import Sweep

        phases, reference = Phases(resume), objective.reference
        treatments = self._treatments(objective)
        vectors = None
        if self.axes == "eigen":
            vectors = yield from phases.run("eigen", partial(compute_eigenvectors, objective, self._dim, self.seed))
        sweep, exact = Sweep(objective, self._metric()), float(objective.value())
        rounding = rounding_floor(objective, lambda theta: float(objective.value(theta)), exact, self.seed)
        found: list[PlaneView] = []
        frames: list[planes.Frame] = []
        for number in range(self.seeds):
            make = partial(self._frame, objective, treatments, vectors, number)
            frame, view = yield from self._evaluated(objective, phases, sweep, make, exact, rounding, number)
            frames.append(frame)
            found.append(view)
        first = frames[0]
        columns = views.grid_columns(found, sweep.columns)
        columns |= yield from self._barriers(objective, phases, sweep, first, found[0], exact)
        if self.axes == "random" or self.normalise != "none":
            columns |= views.treatment_columns(treatments, objective)
            self._say_of_filters(objective, treatments)
        return SurfaceResult(
            **columns,
            **views.curvature_columns(found),
            **views.roughness_columns(found),
            **views.basin_columns(found, self.level),
            **views.mark_columns(first.marks, first.explained),
            seed=_numbers(self.seeds),
            rounding=rounding,
            centre_loss=float(found[0].losses[found[0].centre]),
            evaluations=sum(one.grid.evaluations for one in found),
            points=sum(one.losses.size for one in found),
            gradient_norm=reference.gradient_norm,
            parameters=objective.space.size,
            samples=objective.batches.samples,
        )

    @property
    def _dim(self) -> int:
        if self.axes == "checkpoints":
            return max(len(self.towards), 1)
        named = max(len(options.parse_grid(self.grid)), len(options.parse_range(self.range)) if self.range else 1)
        return self.dim or max(named, 1 if self.axes == "gradient" else 2)

    def _trajectory(self) -> Trajectory:
        """The checkpoints of the trajectory, and what was left out."""
        from landscape.evaluation.other_checkpoints import find_trajectory

        if self.trajectory is None:
            raise UsageError("--axes trajectory needs the checkpoints of a run", fix="--trajectory FOLDER")
        return find_trajectory(self.trajectory)

    def _others(self, objective: Objective) -> list[OtherCheckpoint]:
        from landscape.evaluation.other_checkpoints import other_checkpoint

        if not self.towards:
            fix = "landscape surface A B --axes checkpoints, or --towards B"
            raise UsageError("--axes checkpoints leads to others, and none is named", fix=fix)
        return [other_checkpoint(objective, one, "--towards") for one in self.towards]

    def _metric(self) -> Loss | None:
        from landscape.evaluation.metrics import as_metric

        return None if self.metric is None else as_metric(self.metric)

    def _treatments(self, objective: Objective) -> tuple[Treatment, ...]:
        from landscape.evaluation import directions

        return directions.treatments(objective, self.normalise or "none", self.ignore)

    def _frame(
        self, objective: Objective, done: Sequence[Treatment], vectors: np.ndarray | None, number: int
    ) -> planes.Frame:
        from landscape.evaluation.other_checkpoints import other_checkpoint

        mode = self.batch_norm or "fixed"
        if self.axes == "checkpoints":
            there = self._others(objective)
            return planes.checkpoint_frame(objective, [align(one) for one in there] if self.align else there, mode)
        if self.axes == "trajectory":
            found = self._trajectory()
            objective.notes.extend([found.note] if found.note and found.note not in objective.notes else [])
            frame = planes.trajectory_frame(
                objective, self._dim, found.checkpoints, lambda path: other_checkpoint(objective, path, "--trajectory")
            )
        elif self.axes == "gradient":
            frame = planes.gradient_frame(objective, self._dim, done, self.seed)
        elif vectors is not None:
            frame = planes.eigenvector_frame(objective, vectors, done)
        else:
            frame = planes.random_frame(objective, self._dim, done, self.seed, number)
        return planes.recompute_statistics(objective, frame, mode)

    def _evaluated(
        self,
        objective: Objective,
        phases: Phases,
        sweep: Sweep,
        make: Callable[[], planes.Frame],
        exact: float,
        rounding: float,
        number: int,
    ) -> Generator[Progress, None, tuple[planes.Frame, PlaneView]]:
        """A plane's frame without its directions, which are large, and what was found on it."""
        frame = make()
        coordinates, directions = self._coordinates(frame), frame.plane.directions
        task = self._task(frame.plane, coordinates, exact, number)
        if not number:
            yield from phases.run("trial", partial(self._trial, objective, sweep, task))
        grid = yield from phases.run(f"plane {number}", partial(evaluate_grid, sweep, task))
        second = yield from phases.run(f"products {number}", partial(_products, objective, frame.plane))
        view = views.view_plane(coordinates, grid, second, directions, rounding)
        return replace(frame, plane=replace(frame.plane, directions=())), view

    def _coordinates(self, frame: planes.Frame) -> tuple[np.ndarray, ...]:
        """The coordinates along each axis, alpha first; the checkpoint lies on the grid, and so does the other end."""
        from landscape.algorithms.grids.grids import grid_coordinates

        dim = len(frame.plane.directions)
        numbers = options.parse_grid(self.grid)
        ranges = options.parse_range(self.range) if self.range is not None else frame.extents
        if dim < max(len(numbers), len(ranges)):
            raise UsageError("a line has one axis, and --grid or --range name two", fix="--grid 51")
        numbers, ranges = numbers * (dim // len(numbers)), ranges * (dim // len(ranges))
        return tuple(
            grid_coordinates(count, low, high, unit=frame.unit and high >= 1)
            for count, (low, high) in zip(numbers, ranges, strict=True)
        )

    def _task(self, plane: Plane, coordinates: tuple[np.ndarray, ...], exact: float, number: int) -> GridTask:
        import math

        size = math.prod(len(axis) for axis in coordinates)
        return GridTask(
            plane=plane,
            coordinates=coordinates,
            tol=self.tol if self.adaptive else None,
            exact=None if plane.statistics == "recompute" else exact,
            before=number * size,
            total=(self.seeds + self.align) * size,
            name=f"plane {number + 1} of {self.seeds}, " if self.seeds > 1 else "",
        )

    def _trial(
        self, objective: Objective, sweep: Sweep, task: GridTask, saved: State
    ) -> Generator[Progress, None, None]:
        """Finds the fastest way to make so many passes; a resumed run goes on in the way that was found."""
        from landscape.evaluation.sweep import PassSettings

        if saved:
            sweep.use_settings(PassSettings.from_array(saved["way"]))
        elif self.trial and task.total >= WORTH_A_TRIAL:
            sweep.choose_settings(task.plane)
            way = sweep.way.array()
            yield Progress(0, task.total, f"trial: {sweep.way}", lambda: {"way": way})
        objective.notes.append(f"passes over the data: {sweep.way}")

    def _barriers(
        self, objective: Objective, phases: Phases, sweep: Sweep, frame: planes.Frame, view: PlaneView, exact: float
    ) -> Generator[Progress, None, dict[str, Any]]:
        """The barrier between two checkpoints, and the one without --align."""
        from landscape.algorithms.grids.shape import barrier

        alpha = view.coordinates[0]
        if not frame.unit:
            return {}
        if not bool((alpha == 1).any()):
            objective.notes.append("the range ends before the other checkpoint, at 1: there is no barrier")
            return {}
        if not bool(((alpha > 0) & (alpha < 1)).any()):
            objective.notes.append("no point lies between the checkpoints: a larger --grid shows the barrier")
            return {}
        found: dict[str, Any] = {"barrier": barrier(view.losses, alpha)}
        if self.align:
            plain, _ = planes.span_checkpoints(objective, self._others(objective), self.batch_norm or "fixed")
            task = replace(self._task(plain.plane, (alpha,), exact, 1), name="without --align, ")
            line = (yield from phases.run("unaligned", partial(evaluate_grid, sweep, task))).values[0]
            found |= {"unaligned_loss": line, "unaligned_barrier": barrier(line, alpha)}
        return found

    def _say_of_filters(self, objective: Objective, done: Sequence[Treatment]) -> None:
        """That some filters do not move, and that some rows of tables do not matter."""
        from landscape.evaluation import directions

        if zeros := directions.zero_filter_count(objective, done):
            objective.notes.append(f"{zeros:,} filters are 0, and do not move")
        for name, rows in directions.rows_without_gradient(objective).items():
            objective.notes.append(f"{rows:,} rows of {name} are not reached by the data: moving them changes nothing")


def _products(objective: Objective, plane: Plane, saved: State) -> Generator[Progress, None, np.ndarray]:
    """d'Hd for each direction; NaN if statistics change along them, or the model has no second derivative."""
    import numpy as np
    import torch

    from landscape.algorithms.lanczos.symmetry import product_if_symmetric
    from landscape.operators import HessianOperator

    if saved:
        return np.array(saved["hessian"])
    second = np.full(len(plane.directions), np.nan)
    if plane.statistics is not None:
        return second
    try:
        for axis, direction in enumerate(plane.directions):
            length = float(torch.linalg.vector_norm(direction))
            unit = direction / (length or 1.0)
            image = product_if_symmetric(HessianOperator(objective), unit, 0)
            second[axis] = float(torch.sum(unit.double() * image)) * length**2
    except (TaskError, NumericalError) as error:
        objective.notes.append(f"d'Hd is not known: {error.what}")
    yield Progress(0, 1, "curvature along the axes", lambda: {"hessian": second})
    return second


def _numbers(count: int) -> np.ndarray | None:
    """The numbers of several planes."""
    import numpy as np

    return np.arange(count) if count > 1 else None


def _several(given: Any) -> tuple[Any, ...]:
    """One thing, or several, or None, as several."""
    if given is None:
        return ()
    if callable(getattr(given, "state_dict", None)):  # a module
        return (given.state_dict(),)
    if getattr(given, "ndim", None) == 0:
        return (given.item(),)
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | Mapping) else (given,)
