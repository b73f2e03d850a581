"""The maxima that ascents from several starts found in balls of several radii, on parts of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from landscape.algorithms.ascent import starts
from landscape.analyses.shared.per_layer import layer_table
from landscape.network.space import ParameterGroup

HIT_TOLERANCE = 0.01  # relative: an ascent that ends so near to the best one has found the same maximum


@dataclass(frozen=True)
class BallMaxima:
    """Maxima on B parts of the data, at R radii, from S starts; NaN where a start was not used."""

    weights: np.ndarray  # (B,), the count of each part, by which parts are averaged
    duals: np.ndarray  # (B,), dual norm of the slope at the center
    curvatures: np.ndarray  # (B,), leading eigenvalue of C H C to 5 %; NaN if unknown
    rises: np.ndarray  # (B, R, S), value above that of the center
    stationarity: np.ndarray  # (B, R, S), 1 - <u, z> / (rho ||z||*): 0 at a local maximum on the boundary
    one_step: np.ndarray  # (B, R), rise of the first start before it climbs: the estimate of SAM, or of GAM
    shares: np.ndarray  # (B, G), share of each group in slope times move at the best point of the largest radius
    evaluations: int
    gradients: float  # the work of the search, in gradients of all the data

    def largest(self) -> np.ndarray:
        """The largest rise `(B, R)`. It is at least 0, since the center is in the ball; NaN where a value is NaN."""
        rises = np.where(np.isnan(self.rises) & ~self.broken()[..., None], -np.inf, self.rises)
        best: np.ndarray = np.maximum(rises.max(axis=2), 0.0)
        return best

    def broken(self) -> np.ndarray:
        """Whether the value at some evaluated point of the ball is NaN, `(B, R)`."""
        return (np.isnan(self.rises) & ~np.isnan(self.stationarity)).any(axis=2)  # type: ignore[no-any-return]

    def at(self, radii: slice, columns: int | None = None) -> BallMaxima:
        """The maxima at some of the radii, with the first so many of the starts."""
        return replace(
            self,
            rises=self.rises[:, radii, :columns],
            stationarity=self.stationarity[:, radii, :columns],
            one_step=self.one_step[:, radii],
        )

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over parts of `(B, ...)`, weighted by their counts."""
        average: np.ndarray = np.tensordot(self.weights / self.weights.sum(), values, axes=1)
        return average

    def hits(self) -> np.ndarray:
        """The number of starts that ended within 1 % of the best `(R,)`; the smallest number of any part."""
        best = self.largest()[..., None]
        fewest: np.ndarray = (self.rises >= (1 - HIT_TOLERANCE) * best).sum(axis=2).min(axis=0)
        return fewest

    def count_starts(self) -> np.ndarray:
        """The number of starts at each radius, `(R,)`."""
        count: np.ndarray = (~np.isnan(self.stationarity[0])).sum(axis=1)
        return count

    def spread(self) -> np.ndarray:
        """(largest - smallest) / largest rise of the starts, `(R,)`; the mean over parts."""
        best = self.largest()
        with np.errstate(divide="ignore", invalid="ignore"):
            lowest = np.where(np.isnan(self.rises), np.inf, self.rises).min(axis=2)
            apart = np.where(best > 0, (best - lowest) / best, 0.0)
        return self.mean(apart)

    def best_stationarity(self) -> np.ndarray:
        """The stationarity at the best point `(R,)`; the largest of any part."""
        place = np.nan_to_num(self.rises, nan=-np.inf).argmax(axis=2)[..., None]
        worst: np.ndarray = np.take_along_axis(self.stationarity, place, axis=2)[..., 0].max(axis=0)
        return worst

    def modes(self) -> np.ndarray:
        """`unique` where all starts found the same maximum on every part, else `multimodal`, `(R,)`.

        It is `one start` where there was only one, which cannot tell.
        """
        count = self.count_starts()
        return np.where(count == 1, "one start", np.where(self.hits() == count, "unique", "multimodal"))


def ascent_columns(maxima: BallMaxima, groups: Sequence[ParameterGroup]) -> dict[str, Any]:
    """The columns about the ascents in the results of sharpness and flatness, with the layers' shares, if any."""
    share = maxima.mean(maxima.shares)
    names = (*starts.start_names(int(maxima.count_starts()[0])), "smaller rho")
    return {
        "starts": maxima.count_starts(),
        "hits": maxima.hits(),
        "spread": maxima.spread(),
        "stationarity": maxima.best_stationarity(),
        "mode": maxima.modes(),
        "start": np.array(names, dtype=str)[: maxima.rises.shape[2]],
        "start_rises": maxima.mean(maxima.rises),
        **(layer_table(groups, share, {"share": share}) if groups else {}),
    }


def random_start_note(maxima: BallMaxima, requested: int) -> tuple[str, ...]:
    """A note on the parts where random starts took the place of eigenvectors, if there are any."""
    blind = int(np.isnan(maxima.curvatures).sum()) if starts.eigenvector_count(requested) else 0
    if not blind:
        return ()
    where = f" on {blind} of {len(maxima.weights)} batches" if len(maxima.weights) > 1 else ""
    return (f"random starts take the place of eigenvectors{where}: second derivatives fail there",)
