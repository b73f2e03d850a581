"""Loss and accuracy on a line or plane through the checkpoint, and what the shape comes to in numbers."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from landscape.analyses import extents, planes, views
from landscape.analyses.base import Analysis, Plan, Progress, Result, State
from landscape.analyses.eigenvectors import eigenvectors
from landscape.analyses.gridded import Grid, Task, gridded
from landscape.analyses.matching import aligned
from landscape.analyses.phases import Phases
from landscape.analyses.rounding import floor
from landscape.analyses.views import View
from landscape.errors import NumericalError, TaskError, UsageError
from landscape.fields import array, option, scalar
from landscape.words import BatchNormMode, Normalise

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.directions import Treatment
    from landscape.losses import Loss
    from landscape.objective import Objective
    from landscape.others import Other
    from landscape.store import Stored
    from landscape.sweep import Plane, Sweep

AxesKind = Literal["random", "eigen", "gradient", "checkpoints", "trajectory"]
WORTH_A_TRIAL = 200  # points from which a trial of some twenty passes pays
IGNORED = ("bias", "norm", "position")  # by random directions (Li et al. 2018, section 4, for the first two)
UNRESOLVED = 0.1  # relative: a second difference further from d'Hd than this says that the grid is too coarse
LOWER = 1e-3  # relative: a point that much below the centre is worth a remark
SMALL_SAMPLE = 2  # planes below which there is no spread


@dataclass(frozen=True, kw_only=True)
class SurfaceResult(Result):
    """Columns over a grid, and numbers; `beta` is there in two dimensions, `seed` if there are several planes.

    Coordinates are in units of the directions: the point is theta + alpha d_alpha + beta d_beta.
    """

    tables: ClassVar[tuple[str, ...]] = ("kind", "mark", "level", "seed")

    alpha: np.ndarray = array("alpha", help="Coordinate along the first direction; the checkpoint lies at 0.")
    beta: np.ndarray | None = array("beta", help="Coordinate along the second direction.", optional=True)
    seed: np.ndarray | None = array("seed", help="Number of the plane.", optional=True)
    loss: np.ndarray = array("seed", "beta", "alpha", help="Mean loss.")
    accuracy: np.ndarray | None = array("seed", "beta", "alpha", help="Share of right predictions.", optional=True)
    metric: np.ndarray | None = array("seed", "beta", "alpha", help="Mean of the user's metric.", optional=True)
    status: np.ndarray = array(
        "seed", "beta", "alpha", help="0 interpolated, 1 evaluated, 2 evaluated to NaN, 3 evaluated to infinity."
    )
    error: np.ndarray | None = array(
        "seed",
        "beta",
        "alpha",
        help="Estimated error of an interpolated loss; 0 where it was evaluated.",
        optional=True,
    )
    unaligned_loss: np.ndarray | None = array("alpha", help="The loss on the line without --align.", optional=True)
    kind: np.ndarray | None = array("kind", help="What a tensor is to its module.", optional=True)
    kind_treatment: np.ndarray | None = array(
        "kind", words=True, help="How directions are normalised there, or ignored: zeroed.", optional=True
    )
    kind_tensors: np.ndarray | None = array("kind", help="Tensors of the kind.", optional=True)
    kind_parameters: np.ndarray | None = array("kind", help="Their size.", optional=True)
    kind_filters: np.ndarray | None = array("kind", help="Parts that are scaled, each to its own norm.", optional=True)
    tensor: np.ndarray | None = array("tensor", help="Each tensor.", optional=True)
    tensor_kind: np.ndarray | None = array("tensor", words=True, help="What it is to its module.", optional=True)
    tensor_treatment: np.ndarray | None = array("tensor", words=True, help="What was done to it.", optional=True)
    tensor_filters: np.ndarray | None = array("tensor", help="Parts that are scaled.", optional=True)
    tensor_norm: np.ndarray | None = array("tensor", help="Its norm.", optional=True)
    mark: np.ndarray | None = array("mark", help="Checkpoint on the line or plane, or near it.", optional=True)
    place_alpha: np.ndarray | None = array("mark", help="Where it lies, or is projected to.", optional=True)
    place_beta: np.ndarray | None = array("mark", help="The same along beta.", optional=True)
    off_plane: np.ndarray | None = array(
        "mark", help="Distance from the plane over distance from the measured checkpoint.", optional=True
    )
    own_loss: np.ndarray | None = array("mark", help="Its own loss, at its own weights.", optional=True)
    level: np.ndarray = array("level", help="Level of the loss.")
    basin_width_alpha: np.ndarray = array("level", help="Width of the centre's basin at that level along alpha.")
    basin_width_beta: np.ndarray | None = array("level", help="The same along beta.", optional=True)
    basin_area: np.ndarray | None = array("level", help="Its area.", optional=True)
    basin_open: np.ndarray = array("level", help="Whether it leaves the grid: its extent is then a lower bound.")
    minimum_loss: np.ndarray = array("minimum", help="Loss of each minimum of the first plane, deepest first.")
    minimum_persistence: np.ndarray = array(
        "minimum", help="How far the loss must rise from it to reach a deeper one; NaN for the deepest."
    )
    minimum_alpha: np.ndarray = array("minimum", help="Where it lies.")
    minimum_beta: np.ndarray | None = array("minimum", help="The same along beta.", optional=True)
    curvatures_alpha: np.ndarray | None = array("seed", help="Second difference along alpha by plane.", optional=True)
    curvatures_beta: np.ndarray | None = array("seed", help="The same along beta.", optional=True)
    variations: np.ndarray | None = array("seed", help="Total variation over range by plane.", optional=True)
    smads: np.ndarray | None = array("seed", help="SMAD by plane.", optional=True)
    cosines: np.ndarray | None = array("seed", help="Cosine of the two directions by plane.", optional=True)
    centre_loss: float = scalar("Loss at the centre, as on the grid.")
    curvature_alpha: float | None = scalar("Second difference at the centre; a mean over planes.", optional=True)
    curvature_alpha_se: float | None = scalar("Its standard error over planes.", optional=True)
    curvature_beta: float | None = scalar("The same along beta.", optional=True)
    curvature_beta_se: float | None = scalar("Its standard error over planes.", optional=True)
    hessian_alpha: float | None = scalar("d'Hd along alpha, from a product with the Hessian.", optional=True)
    hessian_beta: float | None = scalar("The same along beta.", optional=True)
    norm_alpha: float = scalar("Norm of the first direction.")
    norm_beta: float | None = scalar("Norm of the second direction.", optional=True)
    cosine: float | None = scalar("Cosine of the angle between them.", optional=True)
    explained_alpha: float | None = scalar("Share of the trajectory's variance along alpha.", optional=True)
    explained_beta: float | None = scalar("The same along beta.", optional=True)
    barrier: float | None = scalar(
        "Largest rise of the loss above the straight line between both checkpoints' losses.", optional=True
    )
    unaligned_barrier: float | None = scalar("The same without --align.", optional=True)
    variation: float = scalar(
        "Total variation over range, mean of the lines through the centre: at most 2 in a valley."
    )
    roughness_index: float | None = scalar("Standard deviation over mean of these.", optional=True)
    lines: int = scalar("Lines through the centre.")
    smad: float = scalar("Mean rise from a minimum to its pass; 0 with one minimum.")
    rounding: float = scalar("The smallest difference of losses near the centre that stands clear of rounding.")
    minima: int = scalar("Minima of the first plane that are deeper than rounding.")
    evaluations: int = scalar("Points that were evaluated.")
    points: int = scalar("Points of the grid, of all planes.")
    largest_error: float | None = scalar("Largest estimated error of a point, relative to the range.", optional=True)
    gradient_norm: float = scalar("Norm of the gradient of the mean loss.")
    parameters: int = scalar("Size of the parameter vector.")
    samples: int = scalar("Samples in the data.")

    def reference_loss(self) -> float:
        return self.centre_loss

    def remarks(self) -> list[str]:
        return [*self._not_evaluated(), *self._coarse(), *self._lower(), *self._alone()]

    def _not_evaluated(self) -> list[str]:

        found = []
        if broken := int((self.status > 1).sum()):
            found.append(f"{broken:,} of {self.points:,} points are NaN or infinite; they are left as they are")
        if self.evaluations < self.points:
            share = f"{100 * self.evaluations / self.points:.3g} %"
            largest = f"{100 * (self.largest_error or 0):.2g} % of the range"
            found.append(
                f"{share} of the points were evaluated; the others are interpolated, to an estimated {largest}"
            )
        if self.basin_open.any():
            levels = ", ".join(f"{level:.3g}" for level in self.level[self.basin_open])
            found.append(f"the basin leaves the grid at level {levels}: its widths and area there are lower bounds")
        return found

    def _coarse(self) -> list[str]:
        pairs = {"alpha": (self.curvature_alpha, self.hessian_alpha), "beta": (self.curvature_beta, self.hessian_beta)}
        return [
            f"along {axis} the second difference is {seen:.4g} and d'Hd {exact:.4g}: the grid is too coarse for the "
            "curvature at the centre (a smaller --range shows it), or the loss has kinks"
            for axis, (seen, exact) in pairs.items()
            if seen is not None and exact is not None and abs(seen - exact) > UNRESOLVED * abs(exact)
        ] + self._rounded()

    def _rounded(self) -> list[str]:
        import numpy as np

        seen = {"alpha": (self.alpha, self.curvature_alpha), "beta": (self.beta, self.curvature_beta)}
        small = [
            axis
            for axis, (places, value) in seen.items()
            if places is not None
            and value is not None
            and self.rounding > UNRESOLVED * abs(value) * np.diff(places)[0] ** 2
        ]
        if not small:
            return []
        return [
            f"along {' and '.join(small)} the second difference may be rounding: --dtype float64, or a larger --range"
        ]

    def _lower(self) -> list[str]:
        deepest = self.minimum_loss[0] if len(self.minimum_loss) else self.centre_loss
        if not deepest < self.centre_loss - LOWER * abs(self.centre_loss):
            return []
        place = f"alpha {self.minimum_alpha[0]:.3g}" + (
            "" if self.minimum_beta is None else f", beta {self.minimum_beta[0]:.3g}"
        )
        return [f"the checkpoint is not the lowest point: {deepest:.4g} at {place}"]

    def _alone(self) -> list[str]:
        if self.kind is None or self.mark is not None or self.lines > SMALL_SAMPLE:
            return []
        return ["one random direction, or pair of them, is an anecdote: --seeds 5 shows the spread"]


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
        None, help="Directions; checkpoints leads to the others that are named. Default random, or what else is given."
    )
    dim: int | None = option(None, help="1 for a line, 2 for a plane; default 2, for the gradient 1.", min=1, max=2)
    towards: tuple[str, ...] = option(
        (), help="Other checkpoint: one gives a line, two a plane. Repeatable.", identity=False
    )
    trajectory: str | None = option(None, help="Folder with the checkpoints of a run.", identity=False)
    normalise: Normalise | None = option(
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
        None, help="Also measure pkg.mod:function(output, target), a batch's mean or one value for each sample."
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
        self._set("grid", extents.grid_text(self.grid))
        self._set("range", None if self.range is None else extents.range_text(self.range))
        self._set("towards", tuple(str(one) if isinstance(one, Path) else one for one in _several(self.towards)))
        self._set("trajectory", None if self.trajectory is None else str(self.trajectory))
        self._set("ignore", tuple(word for part in _several(self.ignore) for word in part.split(",") if word))
        self._set("level", extents.levels(_several(self.level)))
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
        pairs = extents.counts(self.grid)
        ranges = extents.extents(self.range) if self.range is not None else ()
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
        for contradiction, holds in contradictions.items():
            if holds:
                raise UsageError(contradiction, fix=f"leave it out, or choose other --axes than {self.axes}")

    def over(self, paths: Sequence[Path]) -> tuple[list[Path], Analysis]:
        if self.axes != "checkpoints" or self.towards or len(paths) < 2:
            return super().over(paths)
        return [paths[0]], replace(self, towards=tuple(str(path) for path in paths[1:]))

    def identity(self) -> dict[str, Any]:
        metric: Any = self.metric
        name = getattr(metric, "__qualname__", type(metric).__qualname__) if callable(metric) else metric
        return {**super().identity(), "metric": name}

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        from landscape import others

        flag, named = ("--trajectory", self._steps()) if self.trajectory else ("--towards", self.towards)
        return {"others": [others.read(objective, one, flag).digest for one in named]} if named else {}

    def known(self, objective: Objective, stored: Mapping[str, Stored], output: Path) -> State | None:
        from landscape.analyses.eigenvectors import stored_vectors

        if self.axes != "eigen":
            return None
        vectors = stored_vectors(objective, stored, output, self._dim)
        return None if vectors is None else {"eigen.vectors": vectors}

    def plan(self, objective: Objective) -> Plan:
        import math
        import time

        from landscape.sweep import Plane, Sweep

        sweep, nowhere = Sweep(objective), Plane((objective.theta,) * self._dim)
        counts = extents.counts(self.grid)
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
        from landscape.sweep import Sweep

        phases, reference = Phases(resume), objective.reference
        treatments = self._treatments(objective)
        vectors = None
        if self.axes == "eigen":
            vectors = yield from phases.run("eigen", partial(eigenvectors, objective, self._dim, self.seed))
        sweep, exact = Sweep(objective, self._metric()), float(objective.value())
        rounding = floor(objective, lambda theta: float(objective.value(theta)), exact, self.seed)
        found: list[View] = []
        frames = (self._frame(objective, treatments, vectors, number) for number in range(self.seeds))
        for number, frame in enumerate(frames):
            if not number:
                first, coordinates = frame, self._coordinates(frame)
                yield from phases.run("trial", partial(self._trial, objective, sweep, frame.plane, coordinates))
            task = self._task(frame.plane, coordinates, exact, number)
            grid = yield from phases.run(f"plane {number}", partial(gridded, sweep, task))
            second = yield from phases.run(f"products {number}", partial(_products, objective, frame.plane))
            found.append(view(coordinates, grid, second, frame.plane.directions, rounding))
        columns = views.surfaces(found, sweep.columns)
        columns |= yield from self._barriers(objective, phases, sweep, first, found[0], exact)
        if self.axes == "random" or self.normalise != "none":
            columns |= views.treated(treatments, _norms(objective))
            self._say_of_filters(objective, treatments)
        return SurfaceResult(
            **columns,
            **views.curvatures(found),
            **views.roughness(found),
            **views.basins(found[0], self.level),
            **views.marked(first.marks, first.explained),
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
        named = max(len(extents.counts(self.grid)), len(extents.extents(self.range)) if self.range else 1)
        return self.dim or max(named, 1 if self.axes == "gradient" else 2)

    def _steps(self) -> list[str]:
        """The checkpoints of the trajectory."""
        from landscape import others

        if self.trajectory is None:
            raise UsageError("--axes trajectory needs the checkpoints of a run", fix="--trajectory FOLDER")
        return others.trajectory(self.trajectory)

    def _others(self, objective: Objective) -> list[Other]:
        from landscape import others

        if not self.towards:
            fix = "landscape surface A B --axes checkpoints, or --towards B"
            raise UsageError("--axes checkpoints leads to others, and none is named", fix=fix)
        return [others.read(objective, one, "--towards") for one in self.towards]

    def _metric(self) -> Loss | None:
        from landscape.metrics import as_metric

        return None if self.metric is None else as_metric(self.metric)

    def _treatments(self, objective: Objective) -> tuple[Treatment, ...]:
        from landscape import directions

        return directions.treatments(objective, self.normalise or "none", self.ignore)

    def _frame(
        self, objective: Objective, done: Sequence[Treatment], vectors: np.ndarray | None, number: int
    ) -> planes.Frame:
        from landscape import others

        mode = self.batch_norm or "fixed"
        if self.axes == "checkpoints":
            there = self._others(objective)
            return planes.between(objective, [aligned(one) for one in there] if self.align else there, mode)
        if self.axes == "trajectory":
            frame = planes.trajectory(
                objective, self._dim, self._steps(), lambda path: others.read(objective, path, "--trajectory")
            )
        elif self.axes == "gradient":
            frame = planes.gradient(objective, self._dim, done, self.seed)
        elif vectors is not None:
            frame = planes.eigen(objective, vectors, done)
        else:
            frame = planes.random(objective, self._dim, done, self.seed, number)
        return planes.renormalised(objective, frame, mode)

    def _coordinates(self, frame: planes.Frame) -> tuple[np.ndarray, ...]:
        """The coordinates along each axis, alpha first; the checkpoint lies on the grid, and so does the other end."""
        from landscape.algorithms.grids import coordinates

        dim = len(frame.plane.directions)
        numbers = extents.counts(self.grid)
        ranges = extents.extents(self.range) if self.range is not None else frame.extents
        if dim < max(len(numbers), len(ranges)):
            raise UsageError("a line has one axis, and --grid or --range name two", fix="--grid 51")
        numbers, ranges = numbers * (dim // len(numbers)), ranges * (dim // len(ranges))
        return tuple(
            coordinates(count, low, high, unit=frame.unit and high >= 1)
            for count, (low, high) in zip(numbers, ranges, strict=True)
        )

    def _task(self, plane: Plane, coordinates: tuple[np.ndarray, ...], exact: float, number: int) -> Task:
        import math

        size = math.prod(len(axis) for axis in coordinates)
        return Task(
            plane=plane,
            coordinates=coordinates,
            tol=self.tol if self.adaptive else None,
            exact=None if plane.statistics == "recompute" else exact,
            before=number * size,
            total=(self.seeds + self.align) * size,
            name=f"plane {number + 1} of {self.seeds}, " if self.seeds > 1 else "",
        )

    def _trial(
        self, objective: Objective, sweep: Sweep, plane: Plane, coordinates: tuple[np.ndarray, ...], saved: State
    ) -> Generator[Progress, None, None]:
        """Finds the fastest way to make so many passes; a resumed run goes on in the way that was found."""
        from landscape.sweep import Way

        total = self._task(plane, coordinates, 0.0, 0).total
        if saved:
            sweep.use(Way.from_array(saved["way"]))
        elif self.trial and total >= WORTH_A_TRIAL:
            sweep.settle(plane)
            way = sweep.way.array()
            yield Progress(0, total, f"trial: {sweep.way}", lambda: {"way": way})
        objective.notes.append(f"passes over the data: {sweep.way}")

    def _barriers(
        self, objective: Objective, phases: Phases, sweep: Sweep, frame: planes.Frame, view: View, exact: float
    ) -> Generator[Progress, None, dict[str, Any]]:
        """The barrier between two checkpoints, and the one without --align."""
        from landscape.algorithms.shape import barrier

        alpha = view.coordinates[0]
        if not frame.unit:
            return {}
        if not bool((alpha == 1).any()):
            objective.notes.append("the range ends before the other checkpoint, at 1: there is no barrier")
            return {}
        found: dict[str, Any] = {"barrier": barrier(view.losses, alpha)}
        if self.align:
            plain = planes.between(objective, self._others(objective), self.batch_norm or "fixed")
            task = replace(self._task(plain.plane, (alpha,), exact, 1), name="without --align, ")
            line = (yield from phases.run("unaligned", partial(gridded, sweep, task))).values[0]
            found |= {"unaligned_loss": line, "unaligned_barrier": barrier(line, alpha)}
        return found

    def _say_of_filters(self, objective: Objective, done: Sequence[Treatment]) -> None:
        """That some filters do not move, and that some rows of tables do not matter."""
        from landscape import directions

        if zeros := directions.zero_filters(objective, done):
            objective.notes.append(f"{zeros:,} filters are 0, and do not move")
        for name, rows in directions.unreached_rows(objective).items():
            objective.notes.append(f"{rows:,} rows of {name} are not reached by the data: moving them changes nothing")


def view(
    coordinates: tuple[np.ndarray, ...], grid: Grid, second: np.ndarray, directions: Sequence[Tensor], rounding: float
) -> View:
    """An evaluated plane with what is known of its directions."""
    import torch

    exact = [direction.double() for direction in directions]
    norms = tuple(float(torch.linalg.vector_norm(direction)) for direction in exact)
    cosine = None
    if len(exact) == 2 and min(norms) > 0:
        cosine = float(torch.dot(*exact)) / (norms[0] * norms[1])
    return View(coordinates, grid, second, norms, cosine, rounding)


def _products(objective: Objective, plane: Plane, saved: State) -> Generator[Progress, None, np.ndarray]:
    """d'Hd for each direction; NaN if statistics change along them, or the model has no second derivative."""
    import numpy as np
    import torch

    from landscape.algorithms.symmetry import checked_product
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
            image = checked_product(HessianOperator(objective), unit, 0)
            second[axis] = float(torch.sum(unit.double() * image)) * length**2
    except (TaskError, NumericalError) as error:
        objective.notes.append(f"d'Hd is not known: {error.what}")
    yield Progress(0, 1, "curvature along the axes", lambda: {"hessian": second})
    return second


def _norms(objective: Objective) -> dict[str, float]:
    """The norm of each tensor."""
    import torch

    named = objective.space.unflatten(objective.theta)
    return {name: float(torch.linalg.vector_norm(tensor)) for name, tensor in named.items()}


def _numbers(count: int) -> np.ndarray | None:
    """The numbers of several planes."""
    import numpy as np

    return np.arange(count) if count > 1 else None


def _several(given: Any) -> tuple[Any, ...]:
    """One thing, or several, or None, as several."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | Mapping) else (given,)
