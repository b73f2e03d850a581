"""The columns of a surface's result that are read off its evaluated lines and planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.algorithms.grids import shape
from landscape.algorithms.grids.merge_tree import MergeTree
from landscape.algorithms.grids.shape import BasinSize
from landscape.analyses.surfaces.barcode import AXIS_NAMES, barcode_columns, component_columns
from landscape.analyses.surfaces.plane_view import PlaneView

DEFAULT_LEVELS = (2.0, 10.0)  # levels of the basin, in units of the loss at the center
DEFAULT_RISES = (0.1, 0.5)  # the same where that loss is not above 0, in units of the rise to the highest point
MIN_BASIN_STEPS = 3  # a basin narrower than so many steps of the grid is called coarse


def grid_columns(views: Sequence[PlaneView], columns: Sequence[str]) -> dict[str, Any]:
    """Coordinates and the measured columns; those of several views have a leading dimension `seed`."""
    first = views[0]
    arrays: dict[str, Any] = dict(zip(AXIS_NAMES, first.coordinates, strict=False))
    stacked = [np.stack([view.grid.values[i] for view in views]) for i in range(len(columns))]
    arrays |= {name: values if len(views) > 1 else values[0] for name, values in zip(columns, stacked, strict=True)}
    status = np.stack([view.grid.status for view in views])
    arrays["status"] = status if len(views) > 1 else status[0]
    errors = [view.grid.errors for view in views if view.grid.errors is not None]
    if errors:
        arrays["error"] = np.stack(errors) if len(views) > 1 else errors[0]
        spans = [np.ptp(view.losses[np.isfinite(view.losses)]) for view in views]
        relative = [float(e.max() / span) for e, span in zip(errors, spans, strict=True) if span > 0]
        arrays["largest_error"] = max(relative, default=0.0)
    return arrays


def curvature_columns(views: Sequence[PlaneView]) -> dict[str, Any]:
    """Second differences and d'Hd by axis: means over the views with standard errors, and the values of each view."""
    columns: dict[str, Any] = {}
    for axis, name in enumerate(AXIS_NAMES[: len(views[0].coordinates)]):
        differences = [view.curvature(axis) for view in views]
        products = np.array([view.hessian[axis] for view in views])
        if None not in differences:
            values = np.array(differences, float)
            columns[f"curvature_{name}"] = float(values.mean())
            if len(views) > 1:
                columns[f"curvature_{name}_se"] = float(values.std(ddof=1) / len(views) ** 0.5)
                columns[f"curvatures_{name}"] = values
        if np.isfinite(products).all():
            columns[f"hessian_{name}"] = float(products.mean())
            if len(views) > 1:
                columns[f"hessian_{name}_se"] = float(products.std(ddof=1) / len(views) ** 0.5)
        columns[f"norm_{name}"] = views[0].norms[axis]
    if views[0].cosine is not None:
        columns["cosine"] = views[0].cosine
    return columns


def roughness_columns(views: Sequence[PlaneView]) -> dict[str, Any]:
    """Total variation and roughness over all lines through the center, and the minima of the first view."""
    variations = [view.variations() for view in views]
    lines = [variation for of_view in variations for variation in of_view]
    finite = [variation for variation in lines if np.isfinite(variation)]
    trees = [view.tree() for view in views]
    columns = {
        "lines": len(lines),
        "variation": float(np.mean(finite)) if finite else float("nan"),
        "roughness_index": shape.roughness(lines),
        "smad": float(np.mean([tree.smad for tree in trees])),
        **_minimum_columns(views[0], trees[0]),
    }
    if len(views) > 1:
        columns |= {"variations": np.array([np.mean(of_view) for of_view in variations])}
        columns |= {"smads": np.array([tree.smad for tree in trees])}
        columns |= {"cosines": np.array([view.cosine for view in views])} if views[0].cosine is not None else {}
    return columns


def _minimum_columns(view: PlaneView, tree: MergeTree) -> dict[str, Any]:
    """Loss, persistence and coordinates of the minima of a view, deepest first."""
    indices = np.unravel_index(tree.places, view.losses.shape)[::-1]
    columns: dict[str, Any] = {
        "minima": len(tree.places),
        "minimum_loss": tree.values,
        "minimum_persistence": tree.passes - tree.values,
        **barcode_columns(view, tree),
    }
    for name, axis, index in zip(AXIS_NAMES, view.coordinates, indices, strict=False):
        columns[f"minimum_{name}"] = axis[index]
    return columns


def basin_columns(views: Sequence[PlaneView], levels: Sequence[float]) -> dict[str, Any]:
    """Widths and area of the center's basin at each level: means over the views, with their standard deviations."""
    center = float(views[0].losses[views[0].center])
    chosen = sorted(levels) if levels else _default_levels(center, views[0].losses)
    sizes = [[_basin_sizes(view, level) for level in chosen] for view in views]
    names = ["basin_width_alpha", "basin_width_beta", "basin_area"][: len(sizes[0][0])]
    columns: dict[str, Any] = {"level": np.array(chosen)}
    for place, name in enumerate(names):
        values = np.array([[at_level[place].value for at_level in row] for row in sizes])  # (views, levels)
        columns[name] = values.mean(axis=0)
        if len(views) > 1:
            columns[f"{name}_sd"] = values.std(axis=0, ddof=1)
    is_open = np.array([[any(size.open for size in at_level) for at_level in row] for row in sizes])
    steps = [axis[1] - axis[0] for axis in views[0].coordinates]
    coarse = [[_is_coarse(at_level, steps) for at_level in row] for row in sizes]
    columns |= component_columns(views[0], chosen)
    return columns | {"basin_open": is_open.any(axis=0), "basin_coarse": np.array(coarse).any(axis=0)}


def _basin_sizes(view: PlaneView, level: float) -> list[BasinSize]:
    """The widths by axis, and in two dimensions the area."""
    axes, center = view.coordinates, view.center
    sizes = [shape.basin_width(view.line(i), axis, center[::-1][i], level) for i, axis in enumerate(axes)]
    if len(axes) == 2:
        sizes.append(shape.basin_area(view.losses, (axes[1], axes[0]), (center[0], center[1]), level))
    return sizes


def _is_coarse(sizes: Sequence[BasinSize], steps: Sequence[float]) -> bool:
    """Whether a basin is narrower along some axis than the grid resolves; `steps` are those of the grid."""
    return any(size.value < MIN_BASIN_STEPS * step for size, step in zip(sizes, steps, strict=False))


def _default_levels(center: float, losses: np.ndarray) -> list[float]:
    """Multiples of the loss at the center; where that is not above 0, parts of the rise to the highest point."""
    if center > 0:
        return [factor * center for factor in DEFAULT_LEVELS]
    highest = float(losses[np.isfinite(losses)].max(initial=center))
    return [center + share * (highest - center) for share in DEFAULT_RISES]
