"""The functional spectrum: how the loss of each population changes when one band of components is removed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from landscape.algorithms.estimators.resampling import bootstrap
from landscape.algorithms.matrices import staircase
from landscape.algorithms.matrices.removal import RotatedComponents, noise_like, random_mask
from landscape.analyses.base import Progress, State
from landscape.analyses.memorization.components import theta_with
from landscape.analyses.memorization.population_outcomes import PointOutcomes, measure_points
from landscape.choices import stored_population
from landscape.network.linear_maps import LinearMap
from landscape.objective import Objective
from landscape.objective.model_function import Theta
from landscape.seeds import derive

UNCHANGED = "unchanged"  # the point at which no band is removed


@dataclass(frozen=True)
class Bands:
    """Bands of components by rank, the sharpest first; `edges` `(B + 1,)` are shares of all components."""

    edges: tuple[float, ...]

    @property
    def names(self) -> list[str]:
        """The bands as percentages: `1-5 %`."""
        return [f"{100 * low:g}-{100 * high:g} %" for low, high in pairwise(self.edges)]

    def counts(self, size: int) -> list[int]:
        """The number of components before each edge `(B + 1,)`, among `size` components."""
        return [round(edge * size) for edge in self.edges]

    def mask(self, method: RotatedComponents, band: int) -> Tensor:
        """The components of a weight that belong to a band, as a mask `(p, q)`."""
        begin, end = self.counts(method.weight.numel())[band : band + 2]
        left, right = method.left.values, method.right.values
        outer, inner = (method.mask_of(staircase.largest_products(left, right, count)) for count in (end, begin))
        return outer & ~inner


@dataclass(frozen=True)
class FunctionalSpectrum:
    """Removes bands from all layers together or from one; controls add noise or remove random components instead."""

    objective: Objective
    layers: tuple[LinearMap, ...]
    methods: Mapping[str, RotatedComponents]
    bands: Bands
    controls: int
    seed: int

    def points(self, *, per_layer: bool) -> dict[str, Callable[[], Theta]]:
        """Every theta by name: `unchanged`, `band 0`, `noise 0 draw 1`, `random 0 draw 1`, `layer fc1 band 0`."""
        points: dict[str, Callable[[], Theta]] = {UNCHANGED: lambda: self.objective.theta}
        for band in range(len(self.bands.names)):
            points[f"band {band}"] = partial(self._theta, band, self.layers, "band", 0)
            for kind in ("noise", "random"):
                for draw in range(self.controls):
                    points[f"{kind} {band} draw {draw}"] = partial(self._theta, band, self.layers, kind, draw)
        for layer in self.layers if per_layer else ():
            for band in range(len(self.bands.names)):
                points[f"layer {layer.name} band {band}"] = partial(self._theta, band, (layer,), "band", 0)
        return points

    def measure(
        self, populations: Mapping[str, Objective], saved: State, *, per_layer: bool
    ) -> Generator[Progress, None, PointOutcomes]:
        """The outcomes of every population at every point."""
        return (yield from measure_points(populations, self.points(per_layer=per_layer), saved, note="bands"))

    def _theta(self, band: int, layers: tuple[LinearMap, ...], kind: str, draw: int) -> Theta:
        """Theta without a band of the layers, or with the control `kind` in its place."""
        return theta_with(self.objective, layers, lambda layer: self._weight(layer, band, kind, draw))

    def _weight(self, layer: LinearMap, band: int, kind: str, draw: int) -> Tensor:
        method = self.methods[layer.name]
        mask = self.bands.mask(method, band)
        if kind == "random":
            mask = random_mask(mask, self.seed, "band", layer.name, band, draw)
        part = method.part(mask)
        if kind == "noise":
            return method.weight + noise_like(part, self.seed, "band", layer.name, band, draw)
        return method.weight - part


def band_columns(
    measured: PointOutcomes,
    names: Sequence[str],
    bands: Bands,
    layers: Sequence[str],
    controls: int,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Changes of the loss over (population, band), with bootstrap intervals and controls; and over layers too.

    The columns of controls are means over their draws.
    """
    count = len(bands.names)

    def changes(point: str) -> np.ndarray:
        return np.array([measured[point][name].loss - measured[UNCHANGED][name].loss for name in names])

    removed = np.stack([changes(f"band {band}") for band in range(count)], axis=1)
    lows, highs = np.empty_like(removed), np.empty_like(removed)
    for row, name in enumerate(names):
        lows[row], highs[row] = _interval(measured, name, count, resamples, seed)
    columns: dict[str, Any] = {"delta_loss": removed, "delta_loss_lo": lows, "delta_loss_hi": highs}
    for kind in ("noise", "random") if controls else ():
        draws = [[changes(f"{kind} {band} draw {draw}") for draw in range(controls)] for band in range(count)]
        columns[f"{kind}_delta_loss"] = np.array(draws).mean(axis=1).T
    if f"layer {layers[0]} band 0" in measured:
        columns["layer_delta_loss"] = np.array(
            [[changes(f"layer {layer} band {band}") for band in range(count)] for layer in layers]
        ).transpose(2, 0, 1)
    return columns


def _interval(
    measured: PointOutcomes, name: str, bands: int, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the 95 % bootstrap intervals over a population's samples, `(bands,)` each; NaN for one sample."""
    before = measured[UNCHANGED][name]
    if len(before.counts) < 2:  # one sample says nothing about the spread over samples
        return np.full(bands, np.nan), np.full(bands, np.nan)
    changes = np.stack([(measured[f"band {b}"][name].losses - before.losses).numpy() for b in range(bands)], axis=1)
    draws = derive(seed, "bootstrap", stored_population(name))
    low, high = bootstrap(changes, before.counts.numpy(), resamples, draws)
    return low, high
