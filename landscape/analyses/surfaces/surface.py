"""Surface: loss and accuracy on a line or plane through the checkpoint, and numbers that describe the shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from landscape.analyses.base import Analysis, MeasurementModule, Result, State
from landscape.analyses.surfaces.options import AxesKind, SurfaceSettings, settings_for
from landscape.analyses.surfaces.result import SurfaceResult
from landscape.choices import BatchNormMode, Normalize
from landscape.fields import option

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.storage.read import StoredResult

AXES_WORDS = {
    "checkpoints": "between checkpoints",
    "gradient": "along the gradient",
    "trajectory": "along a trajectory",
}


def axes_title(stored: Mapping[str, Any]) -> str:
    """The directions of a surface with these stored options, for its title: `random directions by filter`."""
    axes, scale = stored["axes"], stored.get("normalise", stored.get("normalize", "none"))
    return AXES_WORDS.get(axes, f"{axes} directions") + ("" if scale == "none" else f" by {scale}")


@dataclass(frozen=True)
class Surface(Analysis):
    """Loss surfaces along filter-normalized random directions (Li et al. 2018), eigenvectors, the gradient, between
    checkpoints (Goodfellow et al. 2015; Garipov et al. 2018), and along a trajectory's principal components.

    Options that are not given follow from the axes; `settings` holds the values that are measured.

    >>> import landscape
    >>> objective = landscape.load("digits-mlp.pt", limit=100)
    >>> result = landscape.run(landscape.Surface(grid=5), objective)
    >>> result.loss.shape, bool(result.loss[2, 2] == result.centre_loss)
    ((5, 5), True)
    """

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
        title=axes_title,
        help="Directions; checkpoints: towards the other named ones. Default random, or those that --towards or "
        "--trajectory imply.",
    )
    dim: int | None = option(None, help="1 for a line, 2 for a plane; default 2, for the gradient 1.", min=1, max=2)
    towards: tuple[str, ...] = option(
        (), kind="path", help="Other checkpoint: one gives a line, two a plane. Repeatable.", identity=False
    )
    trajectory: str | None = option(None, kind="path", help="Folder with the checkpoints of a run.", identity=False)
    normalize: Normalize | None = option(
        None,
        aliases=("normalise",),
        stored="normalise",
        help="Scale directions to the weights by filter, layer, tensor, or not; default filter for random ones.",
    )
    ignore: tuple[str, ...] = option(
        (),
        help="Leave bias, norm, position or a glob out of directions, joined by commas; none: nothing. Default, for "
        "random ones: bias,norm,position.",
    )
    seeds: int = option(
        1, help="Planes, or lines, along as many random directions, with their spread.", min=1, max=1000
    )
    align: bool = option(False, help="Permute the other checkpoint's hidden units to match this one's.")
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
        (), help="Loss at which the basin is measured; several give a table. Default 2 and 10 times the center's."
    )
    trial: bool = option(
        True,
        help="Time several ways to make passes first, and use the fastest; --no-trial: the data's own batches, and so "
        "the same last bits each time.",
    )
    seed: int = option(0, help="Seed of everything random.", min=0, max=2**63 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.settings  # raises UsageError for options that are not allowed

    @cached_property
    def settings(self) -> SurfaceSettings:
        """The choices of the measurement: the given options in one form, completed by their defaults."""
        return settings_for({field.name: getattr(self, field.name) for field in fields(SurfaceSettings)})

    def split_paths(self, paths: Sequence[Path]) -> tuple[list[Path], Analysis]:
        """With `--axes checkpoints` the first path is measured, and the others are the ends of its line or plane."""
        if self.settings.axes != "checkpoints" or self.settings.towards or len(paths) < 2:
            return super().split_paths(paths)
        return [paths[0]], replace(self, towards=tuple(str(path) for path in paths[1:]))

    def identity(self) -> dict[str, Any]:
        """The options that decide the result, as they are measured: stored and compared between runs."""
        settings, metric = self.settings, self.metric
        return {
            **super().identity(),
            "grid": settings.grid,
            "range": settings.range,
            "axes": settings.axes,
            "normalise": settings.normalize,
            "ignore": settings.ignore,
            "batch_norm": settings.batch_norm,
            "level": settings.level,
            "metric": getattr(metric, "__qualname__", type(metric).__qualname__) if callable(metric) else metric,
        }

    def ingredients(self, objective: Objective) -> dict[str, Any]:
        """Digests of the other checkpoints: their content decides the result, and their paths do not."""
        from landscape.analyses.surfaces.axes import other_digests

        digests = other_digests(self.settings, objective)
        return {"others": digests} if digests else {}

    def warm_start(self, objective: Objective, stored: Mapping[str, StoredResult], output: Path) -> State | None:
        """Eigenvectors that an earlier `eig --save-vectors` stored next to `output`, with `--axes eigen`."""
        from landscape.analyses.surfaces.eigenvectors import load_stored_eigenvectors

        if self.settings.axes != "eigen":
            return None
        state = load_stored_eigenvectors(objective, stored, output, self.settings.dimension)
        return None if state is None else {f"eigen.{name}": array for name, array in state.items()}

    def measurement(self) -> MeasurementModule:
        """The module that measures."""
        from landscape.analyses.surfaces import surface_measurement

        return surface_measurement
