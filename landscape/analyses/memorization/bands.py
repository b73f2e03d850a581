"""The functional spectrum: what the loss of each population becomes when one band of components is removed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from landscape.analyses.base import Progress, State
from landscape.analyses.memorization.factors import edited
from landscape.analyses.memorization.outcomes import Found, tried
from landscape.choices import stored_population

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from landscape.algorithms.matrices.removal import RotatedComponents
    from landscape.network.linear_maps import LinearMap
    from landscape.objective import Objective

WHOLE = "whole"  # the point without any removal


@dataclass(frozen=True)
class Bands:
    """Bands of components by rank, sharpest first, between shares of all components `edges` `(B + 1,)`."""

    edges: tuple[float, ...]

    @property
    def names(self) -> list[str]:
        return [f"{100 * low:g}-{100 * high:g} %" for low, high in pairwise(self.edges)]

    def counts(self, size: int) -> list[int]:
        """How many of so many components lie before each edge."""
        return [round(edge * size) for edge in self.edges]

    def mask(self, method: RotatedComponents, band: int) -> Tensor:
        """Which components of a weight are in a band."""
        from landscape.algorithms.matrices import staircase

        begin, end = self.counts(method.weight.numel())[band : band + 2]
        left, right = method.left.values, method.right.values
        outer, inner = (method.masked(staircase.largest_products(left, right, count)) for count in (end, begin))
        return outer & ~inner


@dataclass(frozen=True)
class Spectrum:
    """Removes bands from all layers together, or from one, and puts noise or random components in their place."""

    objective: Objective
    layers: tuple[LinearMap, ...]
    methods: Mapping[str, RotatedComponents]
    bands: Bands
    controls: int
    seed: int

    def points(self, *, per_layer: bool) -> dict[str, Callable[[], Tensor]]:
        """Every theta by name: `whole`, `band 0`, `noise 0 draw 1`, `random 0 draw 1`, `layer fc1 band 0`."""
        every = self.layers
        found: dict[str, Callable[[], Tensor]] = {WHOLE: lambda: self.objective.theta}
        for band in range(len(self.bands.names)):
            found[f"band {band}"] = partial(self._without, band, every, "band", 0)
            for kind in ("noise", "random"):
                for draw in range(self.controls):
                    found[f"{kind} {band} draw {draw}"] = partial(self._without, band, every, kind, draw)
        for layer in every if per_layer else ():
            for band in range(len(self.bands.names)):
                found[f"layer {layer.name} band {band}"] = partial(self._without, band, (layer,), "band", 0)
        return found

    def measured(
        self, populations: Mapping[str, Objective], saved: State, *, per_layer: bool
    ) -> Generator[Progress, None, Found]:
        return (yield from tried(populations, self.points(per_layer=per_layer), saved, note="bands"))

    def _without(self, band: int, layers: tuple[LinearMap, ...], kind: str, draw: int) -> Tensor:
        changed = {layer.name: self._changed(layer, band, kind, draw) for layer in layers}
        return edited(self.objective, changed, self.layers)

    def _changed(self, layer: LinearMap, band: int, kind: str, draw: int) -> Tensor:
        from landscape.algorithms.matrices.removal import noise_like, random_mask

        method = self.methods[layer.name]
        mask = self.bands.mask(method, band)
        if kind == "random":
            mask = random_mask(mask, self.seed, "band", layer.name, band, draw)
        part = method.part(mask)
        return method.weight + (
            noise_like(part, self.seed, "band", layer.name, band, draw) if kind == "noise" else -part
        )


def columns(
    found: Found, names: Sequence[str], bands: Bands, layers: Sequence[str], controls: int, resamples: int, seed: int
) -> dict[str, Any]:
    """The changes of the loss over (population, band), with intervals and controls, and over layers."""
    import numpy as np

    count = len(bands.names)

    def changes(point: str) -> np.ndarray:
        return np.array([found[point][name].loss - found[WHOLE][name].loss for name in names])

    removed = np.stack([changes(f"band {band}") for band in range(count)], axis=1)
    lows, highs = np.empty_like(removed), np.empty_like(removed)
    for place, name in enumerate(names):
        lows[place], highs[place] = _interval(found, name, count, resamples, seed)
    columns: dict[str, Any] = {"delta_loss": removed, "delta_loss_lo": lows, "delta_loss_hi": highs}
    for kind in ("noise", "random") if controls else ():
        draws = [[changes(f"{kind} {band} draw {draw}") for draw in range(controls)] for band in range(count)]
        columns[f"{kind}_delta_loss"] = np.array(draws).mean(axis=1).T
    if f"layer {layers[0]} band 0" in found:
        columns["layer_delta_loss"] = np.array(
            [[changes(f"layer {layer} band {band}") for band in range(count)] for layer in layers]
        ).transpose(2, 0, 1)
    return columns


def _interval(found: Found, name: str, bands: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap intervals over a population's samples, for each band."""
    import numpy as np

    from landscape.algorithms.estimators.resampling import bootstrap
    from landscape.seeds import derive

    base = found[WHOLE][name]
    if len(base.counts) < 2:  # one sample tells nothing of others
        return np.full(bands, np.nan), np.full(bands, np.nan)
    apart = np.stack([(found[f"band {b}"][name].losses - base.losses).numpy() for b in range(bands)], axis=1)
    low, high = bootstrap(apart, base.counts.numpy(), resamples, derive(seed, "bootstrap", stored_population(name)))
    return low, high
