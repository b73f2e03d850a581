"""One evaluated line or plane, with the quantities that are read off its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.grids.grids import center_indices
from landscape.algorithms.grids.merge_tree import MergeTree, merge_tree
from landscape.algorithms.grids.shape import second_difference, variation
from landscape.analyses.surfaces.grid_phase import Grid, Index
from landscape.compute.inner_products import dot, norm


@dataclass(frozen=True)
class PlaneView:
    """An evaluated line or plane; coordinates, curvatures d'Hd (NaN if unknown) and norms by axis, alpha first."""

    coordinates: tuple[np.ndarray, ...]
    grid: Grid
    hessian: np.ndarray
    norms: tuple[float, ...]
    cosine: float | None  # of the angle between the directions
    rounding: float  # the smallest difference of two losses that stands clear of rounding

    @property
    def losses(self) -> np.ndarray:
        """`(beta, alpha)` or `(alpha,)`."""
        losses: np.ndarray = self.grid.values[0]
        return losses

    @property
    def center(self) -> Index:
        """The index of the checkpoint itself."""
        return center_indices(self.coordinates)

    def line(self, axis: int) -> np.ndarray:
        """The losses through the center along an axis, 0 for alpha."""
        along: list[Any] = list(self.center)
        along[len(along) - 1 - axis] = slice(None)
        line: np.ndarray = self.losses[tuple(along)]
        return line

    def curvature(self, axis: int) -> float | None:
        """The second difference at the center."""
        places = self.coordinates[axis]
        return second_difference(self.line(axis), float(places[1] - places[0]), self.center[::-1][axis])

    def variations(self) -> list[float]:
        """Total variation over range of the lines through the center; NaN for a line that is flat within rounding."""
        lines = [self.line(axis) for axis in range(len(self.coordinates))]
        return [variation(line) if np.ptp(line) > self.rounding else float("nan") for line in lines]

    @property
    def noise(self) -> np.ndarray:
        """The error of each loss, by rounding and by interpolation, in the shape of the losses."""
        size = np.abs(np.nan_to_num(self.losses, nan=0.0, posinf=0.0, neginf=0.0))
        noise: np.ndarray = self.rounding * np.maximum(size / max(abs(float(self.losses[self.center])), 1e-300), 1)
        return noise if self.grid.errors is None else noise + self.grid.errors

    def tree(self) -> MergeTree:
        """The merge tree of the minima that are deeper than rounding and than the error of the interpolation."""
        return merge_tree(self.losses, self.noise)


def view_plane(
    coordinates: tuple[np.ndarray, ...], grid: Grid, hessian: np.ndarray, directions: Sequence[Tensor], rounding: float
) -> PlaneView:
    """The view of a grid along these directions, each `(P,)`, with the norms of the directions and their angle."""
    norms = tuple(norm(direction) for direction in directions)
    cosine = None
    if len(directions) == 2 and min(norms) > 0:
        cosine = dot(*directions) / (norms[0] * norms[1])
    return PlaneView(coordinates, grid, hessian, norms, cosine, rounding)
