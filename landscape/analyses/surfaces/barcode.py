"""Basins of a line or plane: their births and deaths as levels rise, with depth, width and errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.algorithms.grids.merge_tree import MergeTree
from landscape.algorithms.grids.shape import BasinSize, basin_region, basin_width
from landscape.analyses.surfaces.plane_view import PlaneView

AXIS_NAMES = ("alpha", "beta")
MAX_MEASURED = 100  # basins of a level, the deepest first, whose widths are measured: rough surfaces have thousands


def barcode_columns(view: PlaneView, tree: MergeTree) -> dict[str, Any]:
    """Deaths and errors of the minima of a view, and the sizes of their basins just below."""
    levels = [_closing_level(view, pass_) for pass_ in tree.passes.tolist()]
    sizes = [_sizes(view, place, level) for place, level in zip(tree.places[:MAX_MEASURED], levels, strict=False)]
    missing = [[math.nan] * len(_names(view))] * (len(levels) - len(sizes))
    widths = [[size.value for size in row] for row in sizes] + missing
    table = np.array(widths, float).reshape(len(levels), len(_names(view)))
    return {
        "minimum_death": tree.passes,
        "minimum_error": tree.errors,
        **{f"minimum_{name}": column for name, column in zip(_names(view), table.T, strict=True)},
    }


def component_columns(view: PlaneView, levels: Sequence[float]) -> dict[str, Any]:
    """The basins below each level that are deeper than their error: lowest loss, depth, sizes, and whether open."""
    rows = [
        (level, float(view.losses.flat[place]), float(view.noise.flat[place]), _sizes(view, place, level))
        for level in sorted(levels)
        for place in _lowest_places(view, level)[:MAX_MEASURED]
    ]
    sizes = np.array([[size.value for size in row[3]] for row in rows], float).reshape(len(rows), len(_names(view)))
    return {
        "component_level": np.array([row[0] for row in rows]),
        "component_loss": np.array([row[1] for row in rows]),
        "component_depth": np.array([row[0] - row[1] for row in rows]),
        "component_error": np.array([row[2] for row in rows]),
        **{f"component_{name}": column for name, column in zip(_names(view), sizes.T, strict=True)},
        "component_open": np.array([any(size.open for size in row[3]) for row in rows], bool),
    }


def _names(view: PlaneView) -> list[str]:
    """The names of a basin's sizes: its extent along each axis, and in two dimensions its area."""
    widths = [f"width_{name}" for name in AXIS_NAMES[: len(view.coordinates)]]
    return widths if len(widths) == 1 else [*widths, "area"]


def _closing_level(view: PlaneView, pass_: float) -> float:
    """Just below the pass of a basin; of one without a pass, just below the lowest loss on the border of the grid."""
    if math.isfinite(pass_):
        return float(np.nextafter(pass_, -np.inf))
    border = np.ones(view.losses.shape, bool)
    border[(slice(1, -1),) * view.losses.ndim] = False
    return float(np.nextafter(np.nanmin(view.losses[border], initial=np.inf), -np.inf))


def _lowest_places(view: PlaneView, level: float) -> list[int]:
    """The flat index of the lowest point of each connected region below a level that is deeper than its error.

    Points are connected with all their neighbors, as in the merge tree. Those of the deepest regions come first.
    """
    from scipy.ndimage import label, minimum_position

    below = view.losses <= level  # False for NaN
    regions, count = label(below, structure=np.ones((3,) * below.ndim))
    found = minimum_position(view.losses, regions, range(1, count + 1)) if count else []
    places = [int(np.ravel_multi_index(place, below.shape)) for place in found]
    deep = [place for place in places if level - view.losses.flat[place] > view.noise.flat[place]]
    return sorted(deep, key=lambda place: (view.losses.flat[place], place))


def _sizes(view: PlaneView, place: int, level: float) -> list[BasinSize]:
    """The extent by axis, alpha first, and in two dimensions the area, of the basin around a flat index."""
    axes, index = view.coordinates, np.unravel_index(place, view.losses.shape)
    if len(axes) == 1:
        return [basin_width(view.losses, axes[0], int(index[0]), level)]
    (rows, columns), (row, column) = _neighborhood(view.losses, index, level), index
    crop = view.losses[rows, columns]
    spot = int(row) - rows.start, int(column) - columns.start
    region = basin_region(crop, (axes[1][rows], axes[0][columns]), spot, level)
    return [BasinSize(extent, region.area.open) for extent in reversed(region.extents)] + [region.area]


def _neighborhood(losses: np.ndarray, index: tuple[Any, ...], level: float) -> tuple[slice, slice]:
    """The rows and columns of the points below a level that are connected with an index, and of their neighbors."""
    from scipy.ndimage import label

    regions, _ = label(losses <= level, structure=np.ones((3, 3)))
    own = regions == regions[index]
    ends = [np.flatnonzero(own.any(axis=1 - axis))[[0, -1]] for axis in range(2)]
    rows, columns = (slice(max(int(first) - 1, 0), int(last) + 2) for first, last in ends)
    return rows, columns
