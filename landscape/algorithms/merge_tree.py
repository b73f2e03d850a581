"""The minima of a function on a grid, and the passes at which their basins meet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MergeTree:
    """Minima, deepest first: their flat indices, values, and the level at which the basin of each meets a deeper one.

    The deepest meets none, nor do those behind what is not finite: their pass is NaN.
    """

    places: np.ndarray
    values: np.ndarray
    passes: np.ndarray
    edges: np.ndarray  # f(saddle) - f(minimum) of every minimum and the first saddle above it; empty with one minimum

    @property
    def smad(self) -> float:
        """Saddle-minimum average distance: the mean of the edges, 0 with one minimum."""
        return float(self.edges.mean()) if len(self.edges) else 0.0


def merge_tree(values: np.ndarray, noise: np.ndarray) -> MergeTree:
    """The sublevel merge tree of a grid with 3^d - 1 neighbours; what is not finite is in no basin.

    `noise`, of the shape of the values, is what each may be wrong by: a minimum that is not deeper than that is none,
    but part of the basin that it opens into (Edelsbrunner, Letscher and Zomorodian 2002, for persistence).
    """
    flat, unsure = values.reshape(-1), noise.reshape(-1)
    order = [int(i) for i in np.argsort(flat, kind="stable") if np.isfinite(flat[i])]
    neighbours = _neighbours(values.shape)
    parent: dict[int, int] = {}
    merged: dict[int, float] = {}  # minimum -> level of its pass
    first_saddle: dict[int, float] = {}
    for place in order:
        roots = sorted({_root(parent, n) for n in neighbours(place) if n in parent}, key=lambda r: (flat[r], r))
        parent[place] = roots[0] if roots else place
        real = [root for root in roots if flat[place] - flat[root] > max(unsure[place], unsure[root])]
        for root in roots[1:]:
            parent[root] = roots[0]
            if root in real:
                merged[root] = float(flat[place])
        if len(real) > 1:
            for root in real:
                first_saddle.setdefault(root, float(flat[place]))
    remaining = [place for place in order if parent[place] == place]
    minima = sorted([*merged, *remaining], key=lambda m: (flat[m], m))
    edges = np.array([first_saddle[m] - flat[m] for m in minima if m in first_saddle])
    passes = np.array([merged.get(m, np.nan) for m in minima])
    return MergeTree(np.array(minima, int), flat[minima] if minima else np.zeros(0), passes, edges)


def _root(parent: dict[int, int], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


def _neighbours(shape: tuple[int, ...]) -> Any:
    steps = [step for step in product((-1, 0, 1), repeat=len(shape)) if any(step)]

    def around(place: int) -> list[int]:
        index = np.unravel_index(place, shape)
        found = [tuple(int(i) + s for i, s in zip(index, step, strict=True)) for step in steps]
        inside = [p for p in found if all(0 <= i < length for i, length in zip(p, shape, strict=True))]
        return [int(np.ravel_multi_index(p, shape)) for p in inside]

    return around
