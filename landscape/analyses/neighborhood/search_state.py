"""The state of a search for worst cases: the balls, the search on one part of the data, and the parts before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from landscape.algorithms.ascent.ascent import AscentState
from landscape.algorithms.lanczos.state import LanczosState
from landscape.algorithms.snapshots import TENSOR, nested
from landscape.analyses.neighborhood.ball_maxima import BallMaxima
from landscape.choices import Norm


@dataclass(frozen=True)
class BallSearch:
    """The balls, by their ascending radii, and the ascents: from `starts` starts, `steps` evaluations each."""

    norm: Norm
    radii: tuple[float, ...]
    starts: int
    steps: int
    samples: int | None  # of each part of the data; None: all of it is one part
    seed: int

    @property
    def columns(self) -> int:
        """Starts of the larger radii: one more than of the first, namely the best point of the radius before."""
        return self.starts + (self.starts > 1 and len(self.radii) > 1)


@dataclass(frozen=True)
class PartState:
    """The search on one part of the data after some steps; `radius` is the index of the present radius."""

    weight: float
    dual: float
    curvature: float
    rises: np.ndarray  # (R, S)
    stationarity: np.ndarray  # (R, S)
    one_step: np.ndarray  # (R,)
    shares: np.ndarray  # (G,)
    radius: int = 0
    evaluations: int = 0
    # (k, P), the leading eigenvectors; None until their search ends
    vectors: Tensor | None = field(default=None, metadata=TENSOR)
    best: Tensor | None = field(default=None, metadata=TENSOR)  # (P,), the best point of the radius before
    # the search for the eigenvectors, and the ascents at the present radius, while they run
    lanczos: LanczosState | None = field(default=None, metadata=nested(LanczosState))
    ascent: AscentState | None = field(default=None, metadata=nested(AscentState))


@dataclass(frozen=True)
class WorstCaseState:
    """The search on part number `part` of the data, and the maxima on the parts before it."""

    part: int
    finished: BallMaxima = field(metadata=nested(BallMaxima))
    current: PartState | None = field(default=None, metadata=nested(PartState))  # None before it begins


def begin_part(count: float, search: BallSearch, groups: int) -> PartState:
    """The state before the search on a part of the data whose loss is a mean over `count` terms."""
    shape = (len(search.radii), search.columns)
    return PartState(
        weight=float(count),
        dual=np.nan,
        curvature=np.nan,
        rises=np.full(shape, np.nan),
        stationarity=np.full(shape, np.nan),
        one_step=np.full(shape[0], np.nan),
        shares=np.full(groups, np.nan),
    )


def append_part(finished: BallMaxima, state: PartState) -> BallMaxima:
    """The maxima with those of one more part."""

    def extend(array: np.ndarray, row: object) -> np.ndarray:
        return np.concatenate([array, np.asarray(row, dtype=float)[None]])

    return BallMaxima(
        weights=extend(finished.weights, state.weight),
        duals=extend(finished.duals, state.dual),
        curvatures=extend(finished.curvatures, state.curvature),
        rises=extend(finished.rises, state.rises),
        stationarity=extend(finished.stationarity, state.stationarity),
        one_step=extend(finished.one_step, state.one_step),
        shares=extend(finished.shares, state.shares),
        evaluations=finished.evaluations + state.evaluations,
    )


def no_maxima(search: BallSearch, groups: int) -> BallMaxima:
    """The maxima of no part at all."""
    by_start = np.zeros((0, len(search.radii), search.columns))
    return BallMaxima(
        weights=np.zeros(0),
        duals=np.zeros(0),
        curvatures=np.zeros(0),
        rises=by_start,
        stationarity=by_start,
        one_step=np.zeros((0, len(search.radii))),
        shares=np.zeros((0, groups)),
        evaluations=0,
    )
