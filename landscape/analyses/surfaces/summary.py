"""What the evaluated lines and planes of a surface come to in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.analyses.surfaces.grid_phase import Grid, Index

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.algorithms.grids.merge_tree import MergeTree
    from landscape.algorithms.grids.shape import BasinSize
    from landscape.analyses.surfaces.planes import Marks
    from landscape.evaluation.directions import Treatment
    from landscape.objective import Objective

LEVELS = (2.0, 10.0)  # times the loss at the centre: where basins are measured by default
COARSE = 3  # steps of the grid below which a width is rough
SHARES = (0.1, 0.5)  # of the rise to the highest point, where the centre's loss is not above 0


@dataclass(frozen=True)
class PlaneView:
    """One evaluated line or plane; coordinates, curvatures d'Hd (NaN if unknown), norms by axis, alpha first."""

    coordinates: tuple[np.ndarray, ...]
    grid: Grid
    hessian: np.ndarray
    norms: tuple[float, ...]
    cosine: float | None
    rounding: float  # the smallest difference of two losses that stands clear of it

    @property
    def losses(self) -> np.ndarray:
        """`(beta, alpha)` or `(alpha,)`."""
        losses: np.ndarray = self.grid.values[0]
        return losses

    @property
    def centre(self) -> Index:
        from landscape.algorithms.grids.grids import center_indices

        return center_indices(self.coordinates)

    def line(self, axis: int) -> np.ndarray:
        """The losses through the centre along an axis, 0 for alpha."""
        along: list[Any] = list(self.centre)
        along[len(along) - 1 - axis] = slice(None)
        line: np.ndarray = self.losses[tuple(along)]
        return line

    def curvature(self, axis: int) -> float | None:
        """The second difference at the centre."""
        from landscape.algorithms.grids.shape import second_difference

        places = self.coordinates[axis]
        return second_difference(self.line(axis), float(places[1] - places[0]), self.centre[::-1][axis])

    def variations(self) -> list[float]:
        """Total variation over range of the lines through the centre; NaN for one that is flat but for rounding."""
        import numpy as np

        from landscape.algorithms.grids.shape import variation

        lines = [self.line(axis) for axis in range(len(self.coordinates))]
        return [variation(line) if np.ptp(line) > self.rounding else float("nan") for line in lines]

    def tree(self) -> MergeTree:
        """The merge tree; a minimum must be deeper than rounding, and than what interpolation may be wrong by."""
        import numpy as np

        from landscape.algorithms.grids.merge_tree import merge_tree

        size = np.abs(np.nan_to_num(self.losses, nan=0.0, posinf=0.0, neginf=0.0))
        noise = self.rounding * np.maximum(size / max(abs(float(self.losses[self.centre])), 1e-300), 1)
        return merge_tree(self.losses, noise if self.grid.errors is None else noise + self.grid.errors)


def view_plane(
    coordinates: tuple[np.ndarray, ...], grid: Grid, second: np.ndarray, directions: Sequence[Tensor], rounding: float
) -> PlaneView:
    """An evaluated plane with what is known of its directions."""
    import torch

    exact = [direction.double() for direction in directions]
    norms = tuple(float(torch.linalg.vector_norm(direction)) for direction in exact)
    cosine = None
    if len(exact) == 2 and min(norms) > 0:
        cosine = float(torch.dot(*exact)) / (norms[0] * norms[1])
    return PlaneView(coordinates, grid, second, norms, cosine, rounding)


def grid_columns(views: Sequence[PlaneView], columns: Sequence[str]) -> dict[str, Any]:
    """Coordinates and the measured columns; with several views each has a leading axis `seed`."""
    import numpy as np

    first = views[0]
    found: dict[str, Any] = dict(zip(("alpha", "beta"), first.coordinates, strict=False))
    stacked = [np.stack([view.grid.values[i] for view in views]) for i in range(len(columns))]
    found |= {name: values if len(views) > 1 else values[0] for name, values in zip(columns, stacked, strict=True)}
    status = np.stack([view.grid.status for view in views])
    found["status"] = status if len(views) > 1 else status[0]
    errors = [view.grid.errors for view in views if view.grid.errors is not None]
    if errors:
        found["error"] = np.stack(errors) if len(views) > 1 else errors[0]
        spans = [np.ptp(view.losses[np.isfinite(view.losses)]) for view in views]
        shares = [float(e.max() / span) for e, span in zip(errors, spans, strict=True) if span > 0]
        found["largest_error"] = max(shares, default=0.0)
    return found


def curvature_columns(views: Sequence[PlaneView]) -> dict[str, Any]:
    """Second differences and d'Hd by axis: means over the views, with their standard errors, and the views' own."""
    import numpy as np

    found: dict[str, Any] = {}
    for axis, name in enumerate(("alpha", "beta")[: len(views[0].coordinates)]):
        own = [view.curvature(axis) for view in views]
        exact = np.array([view.hessian[axis] for view in views])
        if None not in own:
            values = np.array(own, float)
            found[f"curvature_{name}"] = float(values.mean())
            if len(views) > 1:
                found[f"curvature_{name}_se"] = float(values.std(ddof=1) / len(views) ** 0.5)
                found[f"curvatures_{name}"] = values
        if np.isfinite(exact).all():
            found[f"hessian_{name}"] = float(exact.mean())
            if len(views) > 1:
                found[f"hessian_{name}_se"] = float(exact.std(ddof=1) / len(views) ** 0.5)
        found[f"norm_{name}"] = views[0].norms[axis]
    if views[0].cosine is not None:
        found["cosine"] = views[0].cosine
    return found


def roughness_columns(views: Sequence[PlaneView]) -> dict[str, Any]:
    """Total variation and roughness over all lines through the centre, and the minima of the first view."""
    import numpy as np

    from landscape.algorithms.grids import shape

    variations = [view.variations() for view in views]
    lines = [one for own in variations for one in own]
    known = [one for one in lines if np.isfinite(one)]
    trees = [view.tree() for view in views]
    found = {
        "lines": len(lines),
        "variation": float(np.mean(known)) if known else float("nan"),
        "roughness_index": shape.roughness(lines),
        "smad": float(np.mean([tree.smad for tree in trees])),
        **_minima(views[0], trees[0]),
    }
    if len(views) > 1:
        found |= {"variations": np.array([np.mean(own) for own in variations])}
        found |= {"smads": np.array([tree.smad for tree in trees])}
        found |= {"cosines": np.array([view.cosine for view in views])} if views[0].cosine is not None else {}
    return found


def _minima(view: PlaneView, tree: MergeTree) -> dict[str, Any]:
    """Where the minima of a view lie, deepest first, and how deep each is below the pass out of it."""
    import numpy as np

    places = np.unravel_index(tree.places, view.losses.shape)[::-1]
    found: dict[str, Any] = {
        "minima": len(tree.places),
        "minimum_loss": tree.values,
        "minimum_persistence": tree.passes - tree.values,
    }
    for name, axis, index in zip(("alpha", "beta"), view.coordinates, places, strict=False):
        found[f"minimum_{name}"] = axis[index]
    return found


def basin_columns(views: Sequence[PlaneView], levels: Sequence[float]) -> dict[str, Any]:
    """Widths through the centre, and the area, of the centre's basin at each level: means, with their deviations."""
    import numpy as np

    centre = float(views[0].losses[views[0].centre])
    chosen = sorted(levels) if levels else _levels(centre, views[0].losses)
    sizes = [[_sizes(view, level) for level in chosen] for view in views]
    names = ["basin_width_alpha", "basin_width_beta", "basin_area"][: len(sizes[0][0])]
    found: dict[str, Any] = {"level": np.array(chosen)}
    for place, name in enumerate(names):
        values = np.array([[one[place].value for one in row] for row in sizes])  # (views, levels)
        found[name] = values.mean(axis=0)
        if len(views) > 1:
            found[f"{name}_sd"] = values.std(axis=0, ddof=1)
    opened = np.array([[any(part.open for part in one) for one in row] for row in sizes])
    steps = [axis[1] - axis[0] for axis in views[0].coordinates]
    narrow = [[any(w.value < COARSE * h for w, h in zip(one, steps, strict=False)) for one in row] for row in sizes]
    return found | {"basin_open": opened.any(axis=0), "basin_coarse": np.array(narrow).any(axis=0)}


def _sizes(view: PlaneView, level: float) -> list[BasinSize]:
    """The widths by axis, and in two dimensions the area."""
    from landscape.algorithms.grids import shape

    axes = view.coordinates
    found = [shape.basin_width(view.line(i), axis, view.centre[::-1][i], level) for i, axis in enumerate(axes)]
    if len(axes) == 2:
        found.append(shape.basin_area(view.losses, (axes[1], axes[0]), (view.centre[0], view.centre[1]), level))
    return found


def _levels(centre: float, losses: np.ndarray) -> list[float]:
    """Some times the loss at the centre; where that is not above 0, shares of what the loss rises to above it."""
    import numpy as np

    if centre > 0:
        return [factor * centre for factor in LEVELS]
    highest = float(losses[np.isfinite(losses)].max(initial=centre))
    return [centre + share * (highest - centre) for share in SHARES]


def mark_columns(marks: Marks | None, explained: Sequence[float]) -> dict[str, Any]:
    """The checkpoints on the plane, and the variance that its axes explain."""
    import numpy as np

    found: dict[str, Any] = {f"explained_{name}": e for name, e in zip(("alpha", "beta"), explained, strict=False)}
    if marks is None:
        return found
    found |= {f"place_{name}": column for name, column in zip(("alpha", "beta"), marks.places.T, strict=False)}
    return found | {"mark": np.array(marks.names), "off_plane": marks.off_plane, "own_loss": marks.losses}


def treatment_columns(done: Sequence[Treatment], objective: Objective) -> dict[str, Any]:
    """What was done to each tensor, and the same summed by kind."""
    import numpy as np
    import torch

    weights = objective.space.unflatten(objective.theta)

    kinds = list(dict.fromkeys((one.kind, one.how) for one in done))
    of_kind = [[one for one in done if (one.kind, one.how) == kind] for kind in kinds]
    return {
        "kind": np.array([role for role, _ in kinds]),
        "kind_treatment": np.array([how for _, how in kinds]),
        "kind_tensors": np.array([len(ones) for ones in of_kind]),
        "kind_parameters": np.array([sum(one.block.size for one in ones) for ones in of_kind]),
        "kind_filters": np.array([sum(one.filters for one in ones) for ones in of_kind]),
        "tensor": np.array([one.block.name for one in done]),
        "tensor_kind": np.array([one.kind for one in done]),
        "tensor_treatment": np.array([one.how for one in done]),
        "tensor_filters": np.array([one.filters for one in done]),
        "tensor_norm": np.array([float(torch.linalg.vector_norm(weights[one.block.name])) for one in done]),
    }
