"""The minima of a function on a grid, and the passes at which their basins merge."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class MergeTree:
    """Minima, deepest first: flat indices, values, and the level at which each basin merges into a deeper one.

    The deepest minimum merges into none, and neither do minima behind values that are not finite: their pass is NaN.
    `errors` are the larger ones of the errors at the minimum and at its pass. In the words of persistent homology
    values are births, and passes deaths, of the connected components of sublevel sets.
    """

    places: np.ndarray
    values: np.ndarray
    passes: np.ndarray
    errors: np.ndarray
    edges: np.ndarray  # f(first saddle above) - f(minimum) of every minimum; empty with one minimum

    @property
    def smad(self) -> float:
        """Saddle-minimum average distance: the mean of the edges, 0 with one minimum."""
        return float(self.edges.mean()) if len(self.edges) else 0.0


def merge_tree(values: np.ndarray, noise: np.ndarray) -> MergeTree:
    """The sublevel merge tree of a grid with 3^d - 1 neighbors; points that are not finite belong to no basin.

    `noise` is the error of each value. A minimum that is less deep than its error counts as part of the basin that it
    opens into (Edelsbrunner, Letscher and Zomorodian 2002, on persistence).
    """
    framed = np.pad(values, 1, constant_values=np.nan)  # so that every point has all its neighbors
    flat, unsure = framed.ravel(), np.pad(noise, 1).ravel()
    steps = _steps(framed.shape)
    order = [int(place) for place in np.argsort(flat, kind="stable") if np.isfinite(flat[place])]
    parent = [-1] * flat.size  # -1 for points above the present level
    merged: dict[int, int] = {}  # minimum -> place of its pass
    first_saddle: dict[int, float] = {}
    for place in order:
        reached = {_root(parent, place + step) for step in steps if parent[place + step] >= 0}
        roots = sorted(reached, key=lambda root: (flat[root], root))
        parent[place] = roots[0] if roots else place
        if len(roots) < 2:
            continue
        real = [root for root in roots if flat[place] - flat[root] > max(unsure[place], unsure[root])]
        for root in roots[1:]:
            parent[root] = roots[0]
            if root in real:
                merged[root] = place
        if len(real) > 1:
            for root in real:
                first_saddle.setdefault(root, float(flat[place]))
    remaining = [place for place in order if parent[place] == place]
    minima = sorted([*merged, *remaining], key=lambda m: (flat[m], m))
    edges = np.array([first_saddle[m] - flat[m] for m in minima if m in first_saddle])
    passes = np.array([flat[merged[m]] if m in merged else np.nan for m in minima])
    errors = np.array([max(unsure[m], unsure[merged.get(m, m)]) for m in minima])
    inside = [index - 1 for index in np.unravel_index(np.array(minima, int), framed.shape)]
    places = np.ravel_multi_index(inside, values.shape) if minima else np.zeros(0, int)
    return MergeTree(places, flat[minima] if minima else np.zeros(0), passes, errors, edges)


def _root(parent: list[int], place: int) -> int:
    """The minimum of the basin of a point; shortens the path to it."""
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


def _steps(shape: tuple[int, ...]) -> list[int]:
    """The offsets from a flat index to those of all neighbors."""
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    moves = product((-1, 0, 1), repeat=len(shape))
    return [sum(m * stride for m, stride in zip(move, strides, strict=True)) for move in moves if any(move)]
